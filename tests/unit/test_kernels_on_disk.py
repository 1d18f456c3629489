"""Compiled kernels are kept on disk under what they were made from, and what is stale goes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shroff
from shroff.features import kernel_numbers
from shroff.features.kernel_numbers import digest_of_kernels

SOURCE = """
from shroff.features.kernel_numbers import entry_point


@entry_point("int64(int64)")
def one_more(number):
    return number + 1
"""


@pytest.mark.parametrize(
    "name",
    [f"features/{name}.py" for name in ("kernel_answers", "kernel_distinct", "backfill", "backfill_plan")]
    + [f"models/{name}.py" for name in ("kernel_score", "kernel_layout", "kernel_walker")],
)
def test_a_change_in_any_file_of_kernels_makes_all_of_them_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(kernel_numbers, "__file__", str(tmp_path / "features" / "kernel_numbers.py"))
    digest: Callable[[], str] = digest_of_kernels.__wrapped__
    for folder in ("features", "models"):
        (tmp_path / folder).mkdir()
        for file in Path(shroff.__file__).parent.glob(f"{folder}/*.py"):
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    before = digest()
    with (tmp_path / name).open("a") as file_of_kernels:
        file_of_kernels.write("# another\n")

    assert digest() != before


def test_all_that_is_compiled_is_in_a_file_that_makes_it_stale():
    outside = [
        file.name
        for folder in ("features", "models")
        for file in Path(shroff.__file__).parent.glob(f"{folder}/*.py")
        if "\n@compiled\n" in file.read_text() and not file.name.startswith(("kernel", "backfill"))
    ]

    assert outside == []


def load(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_was_made_from_other_kernels_is_compiled_anew_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "some_kernels.py"
    file.write_text(SOURCE)
    kept = {}
    for digest in ("0" * 16, "0" * 16, "1" * 16):
        monkeypatch.setattr(kernel_numbers, "digest_of_kernels", lambda digest=digest: digest)
        one_more = load(file).one_more
        kept[digest] = one_more.stats
        assert one_more(1) == 2

    assert kept["0" * 16].cache_hits
    assert kept["1" * 16].cache_misses
    names = {found.name.split("-")[0] for found in (tmp_path / "__pycache__").glob("*.nb?")}
    assert names == {f"some_kernels.one_more_{'1' * 16}"}
