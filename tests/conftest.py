"""What every test shares: hypothesis profiles, real servers, and honest skips."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from shroff.project.settings.casework import SECOND_LOOK
from shroff.runtime.process_wide import calm_libraries
from tests.recovery.faults_table import SEED, Row, seed, table
from tests.support import delays, forks, left_out, pages, servers, timing, workers
from tests.support.beside import beside
from tests.support.effort import IS_LONG, examples
from tests.support.patience import PATIENCE_S
from tests.support.servers import azure, gcs, kafka, mail, mariadb, mongo, postgres, pubsub, redis, registry, s3, server
from tools import example_plugins
from tools.checkout import foreign_sources

SERVERS = (
    azure,
    gcs,
    kafka,
    mail,
    mariadb,
    mongo,
    postgres,
    pubsub,
    redis,
    registry,
    s3,
    server,
)  # fixtures of all tests
SELDOM = 20_000, 20, 20  # objects, and collections of younger ones, between two looks for garbage: 5 % of all time
WITH_FEW_DRAWINGS = {  # folders, and files of models that judge no interval
    "app", "backtest", "contracts", "examples", "journeys", "monitoring", "notices", "training", "web",
    "test_evaluation", "test_folds", "test_learners", "test_registry", "test_report_page",
}  # fmt: skip
SPARK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # its virtual machine takes half as much to begin, as Kafka's does
ROOT = Path(__file__).resolve().parent.parent
LONG_FOLDERS = frozenset({"deploy"})  # static checks of files that change seldom: `.ci/run` takes them when they do

# A shell ignores Ctrl-C for what it starts in the background, and so would every program that a test starts and stops.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A grammar of addresses for formats of jsonschema, which no test lets it judge: reading it takes four seconds.
sys.modules |= {"rfc3987_syntax": None}

# Before XGBoost is loaded, here and in processes that are forked for commands, as in `shroff`: its threads would spin.
calm_libraries()

# No deadline: the first example of a law may compile a kernel, and CI cores are shared. `make test` tries the same
# examples each time; those of a campaign follow the seed of its first line, and one that fails prints its blob.
settings.register_profile(
    "shroff",
    deadline=None,
    derandomize=not IS_LONG,
    max_examples=examples(100),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shroff")
if not IS_LONG:
    # It gathers the constants of all modules that are loaded, so what it draws, derandomized too, would depend on the
    # tests before, and each worker would read all of them. A campaign draws from them.
    providers._get_local_constants = lambda: providers._local_constants


def pytest_configure(config: pytest.Config) -> None:
    """Measure what each test costs; have commands forked from a process of this one's that has the program loaded.

    Refuse to test the program of another checkout.
    """
    if refusal := foreign_sources(ROOT):
        raise pytest.UsageError(refusal)
    example_plugins.find()
    delays.begin()
    config.pluginmanager.register(timing.plugin(), "shroff-timing")
    config.pluginmanager.register(left_out.LeftOut(), "shroff-left-out")
    folder = Path(tempfile.mkdtemp(prefix="shroff-forks-"))  # a socket's path must be short
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.setdefault("SPARK_SUBMIT_OPTS", SPARK)
    if count := int(os.environ.pop(workers.COUNT, 0)):
        config.pluginmanager.register(workers.Workers(count, folder), "shroff-workers")
    else:
        forks.begin(folder)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers of a whole run early, so that no test waits for them."""
    if os.environ.get(timing.WHOLE) == "all":
        servers.start_all(session.config._tmp_path_factory.getbasetemp(), servers.KINDS)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Look for no garbage while collecting, which is half of its time, and never among what it made: that stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # modules go at the end as they always do: some complain at length where they stay
        gc.enable()
        gc.set_threshold(*SELDOM)
        if not session.config.pluginmanager.hasplugin("shroff-workers"):  # their pages are shared
            pages.gather()


@pytest.fixture(autouse=True, scope="module")
def _few_drawings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Intervals by as few drawings as the largest sets get, where models are made to be used, not judged.

    Tests of models hold intervals themselves to what they say; golden files and documentation show those of a user.
    """
    if not WITH_FEW_DRAWINGS & {request.path.parent.name, request.path.stem}:
        yield
        return
    from shroff.models.evaluation import intervals

    of_commands = f"{intervals.__name__}.TIMES={intervals.TIMES_MIN} {os.environ.get(forks.SET, '')}"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(intervals, "TIMES", intervals.TIMES_MIN)
        patched.setenv(forks.SET, of_commands)
        yield


@pytest.fixture(autouse=True, scope="module")
def _patient_services(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a check or a sign-in take longer than a service allows: on a busy machine it is right all the same.

    Who tests these limits sets them.
    """
    with pytest.MonkeyPatch.context() as patched:
        if request.path.parent.name == "web":
            for limit in ("work.operation_processes.CHECK_S_MAX", "service.CHECK_S_MAX", "service.SIGN_IN_S_MAX"):
                patched.setattr(f"shroff.web.{limit}", PATIENCE_S)
        yield


@pytest.fixture(autouse=True, scope="session")
def _cheap() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        forks.make_cheap(patched.setattr)
        # What is frozen above stays so: thawed by each ingest, two million objects were walked again after it.
        resting = SimpleNamespace(**vars(gc) | {"freeze": lambda: None, "unfreeze": lambda: None})
        patched.setattr("shroff.runtime.process_wide.gc", resting)
        no_second_looks_by_chance(patched)
        yield


def no_second_looks_by_chance(patched: pytest.MonkeyPatch) -> None:
    """Draw second looks only for a project that says their share: the usual one in twenty, by a new key, is luck.

    Once in a process: a fixture of each test was an eighth of what an empty test takes.
    """
    from shroff.cases import timers

    drawn = timers.is_drawn
    patched.setattr(
        timers, "is_drawn", lambda desk, case: desk.settings.second_look != SECOND_LOOK and drawn(desk, case)
    )


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the clone."""
    return ROOT


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse a skip that gives no reason; mark what needs a real server, and what only `make test-long` runs.

    What is marked `first` comes before all others, unless the run names the order.
    """
    if workers.IN_ORDER not in os.environ:
        items.sort(key=lambda item: item.get_closest_marker("first") is None)
    for item in items:
        if item.path.parent.name in LONG_FOLDERS or not is_smoke(item):
            item.add_marker("long")
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        for mark in (*item.iter_markers("skip"), *item.iter_markers("skipif")):
            if not mark.kwargs.get("reason") and not (mark.name == "skip" and mark.args):
                raise pytest.UsageError(f"{item.nodeid} is skipped without a reason")


def is_smoke(item: pytest.Item) -> bool:
    """Tell whether `make test` runs a test of a place that names the few tests it runs of it.

    A class names such tests as its `smoke`, and a module those of its functions; a module may also name them by a
    parameter of its tests, as `smoke_of`.
    """
    name, module, of = (
        getattr(item, "originalname", item.name),
        getattr(item, "module", None),
        getattr(item, "cls", None),
    )
    by_parameter = getattr(module, "smoke_of", {})
    given = item.callspec.params.values() if hasattr(item, "callspec") else ()
    asked = [(module, by_parameter[value]) for value in given if isinstance(value, str) and value in by_parameter]
    owner = of or module
    asked += [(owner, owner.smoke)] if hasattr(owner, "smoke") else []
    for place, names in asked:
        if gone := [element for element in names if not hasattr(place, element)]:
            raise pytest.UsageError(f"{item.nodeid}: the smoke names tests that are not there: {', '.join(gone)}")
    return all(name in names for _, names in asked)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of faults (tests/recovery), of all processes of the run together."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    noted = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == "faults"]
    if rows := [Row(*values) for part in noted for values in part]:
        terminalreporter.section(f"faults, {SEED}={seed()}")
        for line in table(rows):
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data beside the clone."""
    return beside("data")
