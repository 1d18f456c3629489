"""What every test shares: hypothesis profiles, and honest skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# No deadline: the first example of a law may compile a kernel, and CI cores are shared.
settings.register_profile("default", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
# For a night: SHROFF_TEST_PROFILE=thorough make test
settings.register_profile("thorough", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("SHROFF_TEST_PROFILE", "default"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the clone."""
    return ROOT


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--servers", default="", help="real servers that run: names with commas, e.g. kafka,postgres")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests whose server does not run, and refuse a skip that gives no reason."""
    running = {name for name in config.getoption("--servers").split(",") if name}
    missing = [item for item in items if needs(item) - running]
    if missing:
        config.hook.pytest_deselected(items=missing)
        items[:] = [item for item in items if not needs(item) - running]
    for item in items:
        for mark in (*item.iter_markers("skip"), *item.iter_markers("skipif")):
            if not mark.kwargs.get("reason") and not (mark.name == "skip" and mark.args):
                raise pytest.UsageError(f"{item.nodeid} is skipped without a reason")


def needs(item: pytest.Item) -> set[str]:
    """The servers that a test asks for."""
    return {name for mark in item.iter_markers("needs") for name in mark.args}


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data beside the clone. Where it is not there, tests that read it are skipped; never in CI."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder} must be there in CI")
        pytest.skip(reason="the real data (shared/data beside the clone) is not here")
    return folder
