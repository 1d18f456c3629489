"""What the suite stands on: costs are told, and a forked `shroff` is a process as any other."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

from shroff.cli import demo_kernels
from shroff.features.kernels import numbers
from tests.architecture import sources
from tests.support import forks, workers
from tests.support.effort import IS_LONG, long_after, long_but
from tests.support.timing import CORES, SHARED, WHOLE, Timing
from tools import kernels, suite
from tools.checkout import foreign_sources


def test_a_process_that_ran_through_many_tests_is_not_counted_with_the_one_in_which_it_ends():
    timing = Timing(None)
    report: Any = SimpleNamespace(nodeid="tests/log/test_a.py::test_b", duration=0.02, when="teardown", keywords={})
    report.spent_s = (0.02, 11.0)
    timing.pytest_runtest_logreport(report)
    folders = timing.folders()

    assert (folders["log"].own_s, folders["log"].children_s) == (0.02, CORES * 0.02)
    assert folders[SHARED].cpu_s == 11.0 - CORES * 0.02


def marks(cases: list[Any]) -> list[tuple[object, bool]]:
    """The values of cases of `parametrize`, and whether only `make test-long` runs them."""
    named = [case if hasattr(case, "marks") else pytest.param(case) for case in cases]
    return [(case.values[0], any(mark.name == "long" for mark in case.marks)) for case in named]


def test_cases_stand_in_their_order_and_those_of_the_long_tier_keep_their_names_and_marks():
    named = pytest.param("c", id="third", marks=pytest.mark.slow)

    assert marks(long_after(1, ["a", "b", named])) == [("a", False), ("b", True), ("c", True)]
    assert marks(long_but(["a", "b", "c"], "b")) == [("a", True), ("b", False), ("c", True)]
    (third,) = long_after(0, [named])
    assert third.id == "third"
    assert [mark.name for mark in third.marks] == ["slow", "long"]
    assert long_after(0, [("a", 1)])[0].values == ("a", 1), "a tuple has the values of several arguments"
    with pytest.raises(ValueError, match=r"no such case: \['d'\]"):
        long_but(["a"], "d")


TIERED = """
    import os
    import pytest
    from tests import conftest
    from tests.support import left_out

    pytest_collection_modifyitems = conftest.pytest_collection_modifyitems

    def pytest_configure(config):
        config.pluginmanager.register(left_out.LeftOut())
"""
TIERS = """
    import pytest

    smoke = ("test_kept",)

    def test_kept():
        pytest.skip("kafka cannot be had here: no Java")

    def test_left():
        pass

    class TestOther:
        smoke = ("test_first",)

        def test_first(self):
            pass

        def test_second(self):
            pass
"""


@pytest.mark.slow
def test_a_run_ends_with_one_list_of_what_it_did_not_run(tmp_path):
    (tmp_path / "tests" / "log").mkdir(parents=True)
    (tmp_path / "tests" / "web").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  long\n  server\n  first\n")
    (tmp_path / "conftest.py").write_text(dedent(TIERED))
    (tmp_path / "tests" / "log" / "test_a.py").write_text(dedent(TIERS))
    (tmp_path / "tests" / "web" / "test_b.py").write_text("def test_page():\n    pass\n")
    env = {**os.environ, "PYTHONPATH": str(suite.ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", WHOLE: "all"}

    def said(*words: str) -> list[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        out = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False).stdout
        return out.partition("what did not run")[2].splitlines()[1:-1]

    skipped = "1 skipped: kafka cannot be had here: no Java"

    assert said("-m", "not long") == [skipped, "2 of other tiers (make test-long PART=...): log 2"]
    assert said("tests/log") == [skipped, "folders of other parts: web"]
    assert said("tests/web", "tests/log", "--deselect=tests/log/test_a.py::test_kept") == [
        "1 of other tiers (make test-long PART=...): log 1"
    ]


@pytest.mark.slow
def test_each_kernel_is_compiled_by_one_of_two_processes(monkeypatch, tmp_path):
    asks = "import shroff.features.kernels.native as n; n.Native.keep = lambda kernel: print(kernel.path); "
    by = [
        subprocess.run([forks.PYTHON, "-c", asks + code], capture_output=True, text=True, check=True).stdout.split()
        for code in (*suite.KERNELS, "from shroff.cli.demo_kernels import keep_kernels; keep_kernels()")
    ]
    theirs, others, every = map(set, by)

    assert theirs | others == every
    assert not theirs & others
    loads = f"{asks}{suite.KERNELS[1]}; import sys; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True).stdout
    assert not {f"{kernels.AT_IMPORT[0]}{name}" for name in ("windows", "rules")} & set(said.split())


@pytest.mark.slow
def test_what_a_busy_process_calls_is_compiled_by_one_of_two_processes_unless_numba_has_it(monkeypatch, tmp_path):
    asks = (
        "import sys, shroff.features.kernels.native as n, tools.kernels as t; "
        "n.EntryPoint.keep_for_numba = lambda kernel: print(kernel.__name__); t.digest_of_kernels = lambda: {0!r}; "
    )

    def said(code: str) -> list[str]:
        return subprocess.run([forks.PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    scoring, others = (said(asks.format("0" * 16) + code) for code in suite.ENTRY_POINTS)
    made = [kernel.__name__ for kernel in demo_kernels.natives(demo_kernels.all_listed()) if hasattr(kernel, "calls")]

    assert set(scoring) == {"run_row", "begin", "undo"}
    assert sorted({*scoring, *others}) == sorted(set(made))

    digest = numbers.digest_of_kernels()
    kernel = SimpleNamespace(
        __name__="run", function=SimpleNamespace(__code__=SimpleNamespace(co_filename=tmp_path / "w.py"))
    )
    monkeypatch.setattr(kernels, "EntryPoint", SimpleNamespace)
    folder = tmp_path / "__pycache__"
    folder.mkdir()
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    for name in (f"w.run_{digest}-1.{python}.nbi", f"w.run_{'0' * 16}-1.{python}.1.nbc"):
        (folder / name).touch()
    assert [*kernels.lacking([kernel, None])] == [kernel], "half of it, and half of other sources"
    (folder / f"w.run_{digest}-1.{python}.1.nbc").touch()
    assert [*kernels.lacking([kernel, None])] == []


@pytest.mark.slow
@pytest.mark.parametrize("words", [("-m", "tools.suite", "--warm"), ("-m", "pytest", "--collect-only", "tests/tools")])
def test_no_run_tests_the_program_of_another_checkout(tmp_path, words):
    package = tmp_path / "src" / "shroff"
    package.mkdir(parents=True)
    for path in (suite.ROOT / "src" / "shroff").iterdir():
        (package / path.name).write_bytes(path.read_bytes()) if path.is_file() else (package / path.name).symlink_to(
            path
        )
    env = os.environ | {"PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, *words], cwd=suite.ROOT, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode not in {0, 1}
    assert f"shroff is imported from {package.parent}, so these tests would not test" in done.stderr
    assert f"unset PYTHONPATH, or export PYTHONPATH={suite.ROOT / 'src'}" in done.stderr


def test_the_program_of_this_checkout_is_tested_whatever_the_path_is_called(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(suite.ROOT)

    assert foreign_sources(tmp_path / "link") == foreign_sources(suite.ROOT) == ""

    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "\nmake setup, or export PYTHONPATH=" in foreign_sources(tmp_path)


def test_kernels_that_another_clone_has_compiled_are_not_compiled_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiler = (
        "from pathlib import Path; made = [Path('src/{0}' + end) for end in ('.kernel', '.nbi', '.nbc')]; "
        "[file.exists() or file.write_text('{1}') for file in made]; "
        "[file.unlink() for file in made[0].parent.iterdir() if file not in made]"
    )

    def compiled(clone: str, name: str, number: int, lock: str = "numba==1") -> dict[str, str]:
        root = tmp_path / clone
        (root / "src").mkdir(parents=True, exist_ok=True)
        (root / "requirements").mkdir(exist_ok=True)
        (root / "requirements" / "dev.txt").write_text(lock)
        monkeypatch.setattr(suite, "ROOT", root)
        monkeypatch.setattr(suite, "KERNELS", (compiler.format(name, number),))
        monkeypatch.setattr(suite, "ENTRY_POINTS", ())
        suite.compile_kernels(os.environ)
        found = {file.name: file.read_text() for file in (root / "src").iterdir()}
        assert {*found} == {f"{name}.{end}" for end in ("kernel", "nbi", "nbc")}
        return {Path(file).stem: text for file, text in found.items()}

    assert compiled("first", "of_1", 1) == {"of_1": "1"}
    assert compiled("second", "of_1", 2) == {"of_1": "1"}
    assert compiled("third", "of_1", 3, lock="numba==2") == {"of_1": "3"}, "another compiler"
    assert compiled("fourth", "of_2", 4) == {"of_2": "4"}, "of other sources"
    assert compiled("fifth", "of_2", 5) == {"of_2": "4"}
    assert compiled("sixth", "of_1", 6, lock="numba==3") == {"of_1": "6"}
    kept = sorted(file.read_text() for file in tmp_path.glob("cache/shroff-servers/kernels-*/*.kernel"))
    assert kept == ["4", "6"], "what nobody asks for any more is removed, and all of the lock before the last two"


def test_laws_try_the_same_examples_in_each_run_but_in_campaigns():
    assert settings.get_profile("shroff").derandomize == (not IS_LONG)
    assert settings.get_profile("shroff").print_blob


def test_a_run_keeps_bytecode_and_a_whole_one_says_so(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("SHROFF_TEST_WHOLE", raising=False)
    whole = suite.environment(Path("times"), None, is_part=False)

    assert "PYTHONDONTWRITEBYTECODE" not in whole
    assert whole["SHROFF_TEST_WHOLE"] == "all"
    assert suite.environment(Path("times"), "quick", is_part=False)["SHROFF_TEST_WHOLE"] == "quick"
    assert "SHROFF_TEST_WHOLE" not in suite.environment(Path("times"), None, is_part=True)
    part = suite.environment(Path("times"), "long", is_part=True)
    assert (part["SHROFF_TEST_PROFILE"], part["SHROFF_TEST_WHOLE"]) == ("long", "long")


@pytest.mark.slow
def test_a_forked_command_has_the_folder_input_environment_and_status_it_is_given(tmp_path):
    def said(*words: str, **env: str) -> tuple[int, str]:
        done = subprocess.run(
            [forks.SHROFF, *words],
            cwd=tmp_path,
            env={**os.environ, **env},
            input='{"nonsense": 1}\n',
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert said("init", "bank", "--template", "payments")[0] == 0
    assert (tmp_path / "bank" / "shroff.yaml").exists()
    assert said("-C", "bank", "nonsense")[0] == 2
    status, out = said("-C", "bank", "decide", "-", "--as", "payment")
    assert (status, "payment_id: expected an id" in out) == (4, True)
    assert said("--version") == said("--version", COLUMNS="40")
    assert len(said("--help", COLUMNS="40")[1].splitlines()) > len(said("--help", COLUMNS="120")[1].splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_signal_to_a_forked_command_is_one_to_the_program(tmp_path, number, status):
    subprocess.run([forks.SHROFF, "init", tmp_path / "bank", "--template", "payments"], check=True, capture_output=True)
    command = [str(forks.SHROFF), "-C", str(tmp_path / "bank"), "decide", "-", "--as", "payment"]
    example = (tmp_path / "bank" / "examples" / "payment.json").read_text()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(" ".join(example.split()) + "\n")
        process.stdin.flush()
        assert '"outcome"' in process.stdout.readline()
        program = os.pidfd_open(forks.pid_of(process))
        told = Path(os.environ[forks.FOLDER]) / str(process.pid)
        assert told.exists()
        process.send_signal(number)

        assert process.wait(120) == status
        assert select.select([program], [], [], 120)[0], "the program goes on"
        os.close(program)
        ends_s = time.monotonic() + 120
        while told.exists():
            assert time.monotonic() < ends_s, "a later command with this number would be told of this process"
            time.sleep(0.005)


WORKERS = """
    import os, signal
    from pathlib import Path
    from tests.support import forks, workers

    forks.begin_for = forks.begin = forks.load_heavy = lambda *_: None

    def pytest_configure(config):
        config.pluginmanager.register(workers.Workers(int(os.environ["COUNT"]), Path(os.environ["NOTES"])))
"""
MODULE = """
    import os, signal, sys, threading
    from pathlib import Path
    import pytest

    NOTES = Path(os.environ["NOTES"])

    @pytest.fixture(scope="module")
    def made():
        yield os.getpid()
        (NOTES / f"{__name__}.{os.getpid()}").touch()

    @pytest.mark.parametrize("number", range(9))
    def test_one(made, tmp_path, number):
        print(f"said by {__name__} {number}")
        assert made == os.getpid() and tmp_path.is_dir()
        if (__name__, number) == ("test_1", 4):
            os.kill(os.getpid(), signal.SIGKILL)
        assert (__name__, number) != ("test_2", 5)
"""


def in_workers(folder: Path, module: str = MODULE, count: int = 2, more: str = "-rf") -> str:
    """What pytest says of three modules with nine tests each, run by workers."""
    (folder / "notes").mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(dedent(WORKERS))
    for number in range(3):
        (folder / f"test_{number}.py").write_text(dedent(module))
    command = [sys.executable, "-m", "pytest", "-q", more, "-p", "no:cacheprovider", "--basetemp=base"]
    env = {**os.environ, "NOTES": str(folder / "notes"), "COUNT": str(count), "PYTHONPATH": str(suite.ROOT)}
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a plugin of others is not looked at, and they take three seconds
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_is_killed_fails_its_test_and_all_others_run_once(tmp_path, count):
    said = in_workers(tmp_path, count=count)
    ends = Counter(path.name.partition(".")[0] for path in (tmp_path / "notes").glob("test_*"))

    assert "2 failed, 25 passed" in said
    assert "the worker that ran this test ended with status -9" in said
    assert "FAILED test_1.py::test_one[4]" in said
    assert "FAILED test_2.py::test_one[5]" in said
    assert re.findall("^said by .*", said, re.MULTILINE) == ["said by test_2 5"]
    assert min(ends.values()) >= 1, "a fixture was not taken down"
    assert ends.keys() == {"test_0", "test_1", "test_2"}


@pytest.mark.slow
def test_a_module_that_starts_threads_when_it_is_imported_is_refused(tmp_path):
    said = in_workers(tmp_path, MODULE + "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n")

    assert "test_0.py starts threads when it is imported" in said
    assert "passed" not in said


@pytest.mark.slow
def test_modules_that_are_only_collected_are_all_imported(tmp_path):
    assert in_workers(tmp_path, more="--collect-only").count("::test_one[") == 27


def test_modules_that_share_what_takes_seconds_to_make_are_dealt_out_together():
    uses = SimpleNamespace(module=sources.module)
    module = {"path": Path("tests/web/test_one.py"), "module": SimpleNamespace()}
    items = [
        SimpleNamespace(**given, get_closest_marker=lambda mark, marks=marks: mark in marks or None)
        for given, marks in (
            ({"path": Path("tests/journeys/test_long.py"), "module": SimpleNamespace()}, ("first", "slow")),
            (module, ("slow",)),
            ({"path": Path("tests/recovery/test_kill.py"), "module": SimpleNamespace()}, ("slow",)),
            ({"path": Path("tests/cli/test_hints.py"), "module": uses}, ()),
            (module | {"path": Path("tests/web/test_two.py")}, ("slow",)),
            ({"path": Path("tests/recovery/test_power.py"), "module": SimpleNamespace()}, ("slow",)),
            ({"path": Path("tests/docs/test_wording.py"), "module": uses}, ()),
        )
    ]

    assert list(workers.modules(items)) == [[0], [2, 5], [3, 6], [1], [4]]
