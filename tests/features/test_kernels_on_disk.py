"""Compiled kernels are kept on disk under what they were made from, and what is stale goes."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numba.core.config import reload_config
from numba.core.registry import cpu_target

import shroff
import shroff_plugins
from shroff.cli import demo_kernels
from shroff.features.kernels import native as kernel_native
from shroff.features.kernels import numbers as kernel_numbers
from shroff.features.kernels import windows
from shroff.features.kernels.native import Native
from shroff.features.kernels.numbers import KERNEL_FILES, digest_of_kernels
from shroff.log.columns.read_lines import kernels

SOURCE = """
from shroff.features.kernels.native import entry_point


@entry_point("int64(int64)")
def one_more(number):
    return number + 1
"""


PACKAGE = Path(shroff.__file__).parent


@pytest.mark.parametrize(
    "name",
    [f"features/kernels/{name}.py" for name in ("answers", "distinct")]
    + [f"features/batch/{name}.py" for name in ("backfill", "backfill_plan")]
    + [f"models/trees/{name}.py" for name in ("score", "layout", "walker")]
    + [f"engine/kernels/{name}.py" for name in ("reals", "rows")],
)
def test_a_change_in_any_file_of_kernels_makes_all_of_them_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setattr(kernel_numbers, "__file__", str(tmp_path / "features" / "kernels" / "numbers.py"))
    digest: Callable[[], str] = digest_of_kernels.__wrapped__
    for pattern in KERNEL_FILES:
        for file in PACKAGE.glob(pattern):
            copy = tmp_path / file.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    before = digest()
    with (tmp_path / name).open("a") as file_of_kernels:
        file_of_kernels.write("# another\n")

    assert digest() != before


def test_a_constant_inside_a_kernel_is_of_a_file_that_makes_it_stale():
    stale = {file for pattern in KERNEL_FILES for file in PACKAGE.glob(pattern)}
    constants_alone = {PACKAGE / name for name in KERNEL_FILES if "*" not in name}
    lacking, count = [], 0
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(text := file.read_text(encoding="utf-8"))
        if file in constants_alone:
            continue
        if file not in stale and not re.search(r"^@(compiled|native\(|entry_point\()", text, re.MULTILINE):
            continue
        read = {
            node.id
            for function in tree.body
            if isinstance(function, ast.FunctionDef) and function.decorator_list
            for node in ast.walk(function)
            if isinstance(node, ast.Name)
        }
        for item in ast.walk(tree):
            if isinstance(item, ast.ImportFrom) and (item.module or "").startswith("shroff."):
                module = PACKAGE / f"{item.module.removeprefix('shroff.').replace('.', '/')}.py"
                names = [alias.name for alias in item.names if alias.name.isupper() and alias.name in read]
                count += len(names)
                lacking += [f"{file.name}: {name}" for name in names if module not in stale]

    assert count > 10
    assert lacking == []


def test_all_that_is_compiled_is_in_a_file_that_makes_it_stale():
    stale = {file for pattern in KERNEL_FILES for file in PACKAGE.glob(pattern)}
    shared = (file for room in ("features", "models", "engine") for file in PACKAGE.glob(f"{room}/**/*.py"))
    compiled = {file for file in shared if "\n@compiled\n" in file.read_text(encoding="utf-8")}

    assert len(compiled) > 10
    assert sorted(map(str, compiled - stale)) == []


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
    was_on_disk = []
    for digest in ("0" * 16, "0" * 16, "1" * 16):
        monkeypatch.setattr(kernel_numbers, "digest_of_kernels", lambda digest=digest: digest)
        one_more = load(file).one_more
        assert one_more(1) == 2
        was_on_disk.append(one_more.was_on_disk)

    assert was_on_disk == [False, True, False]
    names = {found.name.split("-")[0] for found in (tmp_path / "__pycache__").glob("*.nb?")}
    assert names == {f"some_kernels.one_more_{'1' * 16}"}


def test_a_kernel_that_is_called_often_is_called_by_numba(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernel_native, "OFTEN", 3)
    file = tmp_path / "some_kernels.py"
    file.write_text(SOURCE)
    one_more = load(file).one_more
    assert [one_more(number) for number in range(2)] == [1, 2]
    assert one_more.by_numba is None

    assert one_more(2**40) == 2**40 + 1
    for thread in threading.enumerate():
        if thread.name == "numba one_more":
            thread.join()

    assert one_more.by_numba is not None
    assert [one_more(number) for number in range(3)] == [1, 2, 3]


def test_a_thread_never_compiles_what_a_second_process_did_not_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "some_kernels.py"
    file.write_text(SOURCE)
    one_more = load(file).one_more
    assert one_more(1) == 2
    for kept in (tmp_path / "__pycache__").glob("*.nb?"):
        kept.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Mock(side_effect=OSError("no room")))
        one_more.load_numba()
        assert one_more.by_numba is None
    with monkeypatch.context() as patch:  # the second process ended without keeping it
        patch.setattr(subprocess, "Popen", Mock(return_value=Mock(poll=Mock(return_value=1))))
        one_more.load_numba()
        assert one_more.by_numba is None
    assert one_more(2) == 3


# In a process of its own: one whose other libraries made code first keeps it for another processor.
ALONE = """
import importlib, pathlib, random
from shroff.features.kernels import native
import some_kernels
kernel = some_kernels.one_more
folder = pathlib.Path(some_kernels.__file__).parent / "__pycache__"
kernel.keep_for_numba()
from numba.core.registry import cpu_target
print("processor", cpu_target.target_context.codegen().magic_tuple()[1:] == native.processor())

for load in lambda: kernel, lambda: importlib.reload(some_kernels).one_more:
    kernel = load()
    for kept in folder.glob("*.nb?"):
        kept.unlink()
    kernel.load_numba()
    stats = kernel.by_numba.stats
    shown = kernel(1), kernel.by_numba(1), stats.cache_hits.total(), stats.cache_misses.total()
    print("lacking", kernel.was_on_disk, *shown)

chance = random.Random(5)
for kept in sorted(folder.glob("some_kernels.*.nb[ci]")) + sorted(folder.glob("*.kernel")):
    clean = kept.read_bytes()
    # the ends of a file, each place of a short one's names, and others by lot
    for place in [0, 1, *range(len(clean) - 3, len(clean)), *(chance.randrange(len(clean)) for _ in range(12))]:
        damaged = bytearray(clean)
        damaged[place] ^= 1 << chance.randrange(8)
        kept.write_bytes(damaged)
        again = type(some_kernels.one_more)(some_kernels.one_more._signature, some_kernels.one_more.function)
        assert again(1) == 2, (kept, place)
        was_taken = again.was_on_disk
        if kept.suffix != ".kernel":
            assert not again._is_kept()
            again.by_numba = again._made_by_numba()
            was_taken = again.by_numba.stats.cache_hits.total() > 0
            assert again(2**40) == 2**40 + 1, (kept, place)
        print("flipped", kept.suffix, was_taken, kept.read_bytes() != bytes(damaged))
"""


@pytest.fixture(name="alone", scope="module")
def _alone(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "some_kernels.py").write_text(SOURCE)
    env = os.environ | {"PYTHONPATH": f"{folder}:{PACKAGE.parent}"}
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True, env=env)
    return done.stdout.splitlines()


def test_numba_makes_code_for_that_processor_whatever_it_makes_first(alone: list[str]):
    assert alone[0] == "processor True"


def test_what_only_numba_lacks_is_compiled_by_a_second_process(alone: list[str]):
    # its code for one call was compiled there once, and that of numba by a second process each time
    assert alone[1:3] == ["lacking False 2 2 1 0", "lacking True 2 2 1 0"]


def test_no_flipped_bit_of_a_file_that_has_machine_code_is_run(alone: list[str]):
    assert set(alone[3:]) == {f"flipped {suffix} False True" for suffix in (".nbi", ".nbc", ".kernel")}


def test_in_the_process_of_these_tests_numba_makes_code_for_that_processor_too():
    """Where a module of tests lets it make code first, each worker compiles all kernels again: 50 s of a processor."""
    kernel_native._set_processor()

    assert cpu_target.target_context.codegen().magic_tuple()[1:] == kernel_native.processor()


def test_code_is_for_the_baseline_or_for_a_processor_that_lacks_some_of_it(monkeypatch: pytest.MonkeyPatch):
    import llvmlite.binding as llvm

    architecture = llvm.get_process_triple().partition("-")[0]
    name, more, needed = kernel_native.BASELINE[architecture]
    host = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    assert kernel_native.processor() in {(name, more), host}
    named = set()

    for system in ("arm64-apple-darwin24.6.0", "arm64-apple-darwin25.1.0"):  # whose releases have the same kernels
        monkeypatch.setattr(llvm, "get_process_triple", lambda system=system: system)
        assert kernel_native.processor.__wrapped__() == ("generic", "")
        named.add(kernel_native._made_for.__wrapped__())
    assert len(named) == 1
    monkeypatch.undo()
    monkeypatch.setitem(kernel_native.BASELINE, architecture, (name, more, f"{needed} of-tomorrow"))
    assert kernel_native.processor.__wrapped__() == host
    monkeypatch.delitem(kernel_native.BASELINE, architecture)
    assert kernel_native.processor.__wrapped__() == host


def test_machine_code_is_made_anew_where_only_the_cache_of_numba_is_left(tmp_path: Path):
    file = tmp_path / "some_kernels.py"
    file.write_text(SOURCE)
    assert load(file).one_more(1) == 2
    for kept in (tmp_path / "__pycache__").glob(f"*{kernel_native.SUFFIX}"):
        kept.unlink()
    one_more = load(file).one_more

    assert one_more(1) == 2
    assert not one_more.was_on_disk


def test_no_copy_of_the_process_is_made_while_a_thread_loads_numba(monkeypatch: pytest.MonkeyPatch):
    loads, may_end = threading.Event(), threading.Event()

    def load(_: object, compiler: object) -> None:
        loads.set()
        may_end.wait(120)

    monkeypatch.setattr(kernel_native.EntryPoint, "_made_by_numba", load)
    loading = threading.Thread(target=windows.tend.load_numba)
    loading.start()
    loads.wait(120)
    made: list[int] = []
    copying = threading.Thread(target=lambda: made.append(os.fork() or os._exit(0)))
    copying.start()
    copying.join(0.1)  # nothing comes
    assert made == []

    may_end.set()
    for item in (loading, copying):
        item.join(120)
    monkeypatch.setattr(windows.tend, "by_numba", None)
    assert os.waitpid(made[0], 0)[1] == 0


# ---- machine code that is loaded without the compiler

NATIVE = """
from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import compiled


@compiled
def doubled(number):
    return number * 2


@native("UniTuple(int64, 2)(int64[:, ::1], uint8[::1], int64, float64)")
def about(table, flags, number, real):
    flags[0] = 7
    return doubled(table[table.shape[0] - 1, table.shape[1] - 1]) + number, int(real * 2) + flags.size


@native("int64(Array(uint8, 1, 'C', readonly=True), uint64)")
def first(data, word):
    return data[0] + (word >> 60)
"""
CALLS = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("some_native", sys.argv[1])
found = importlib.util.module_from_spec(spec)
spec.loader.exec_module(found)
flags = np.zeros(3, np.uint8)
print(found.about(np.array([[1, 2], [3, 40]]), flags, np.int64(-1), 1.5), flags.tolist())
print(found.first(np.frombuffer(b"A", np.uint8), np.uint64(2**64 - 1)))
print(found.about.was_on_disk, "numba" in sys.modules)
"""


def called(file: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", CALLS, str(file)], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.fixture(name="some_native")
def _some_native(tmp_path: Path) -> Path:
    file = tmp_path / "some_native.py"
    file.write_text(NATIVE)
    return file


@pytest.mark.slow
def test_machine_code_is_made_once_and_then_called_without_the_compiler(some_native: Path):
    results = ["(79, 6) [7, 0, 0]", "80"]

    assert called(some_native) == [*results, "False True"]
    assert called(some_native) == [*results, "True False"]


def first_of(file: Path) -> tuple[int, bool]:
    """Load the module and call a kernel of it; return what it gave, and whether its code was on disk."""
    first = load(file).first
    return first(np.frombuffer(b"A", np.uint8), np.uint64(2**64 - 1)), first.was_on_disk


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda _: b"", lambda data: data + b"x"])
def test_machine_code_that_is_damaged_is_made_anew(some_native: Path, damage: Callable[[bytes], bytes]):
    first_of(some_native)
    (kept,) = some_native.parent.glob("__pycache__/*.kernel")
    kept.write_bytes(damage(kept.read_bytes()))

    assert first_of(some_native) == (80, False)
    assert first_of(some_native) == (80, True)


def test_machine_code_of_another_text_goes(some_native: Path):
    first_of(some_native)
    before = {file.name for file in some_native.parent.glob("__pycache__/*.kernel")}
    # of another length: Python takes a text of the same second and length for the one that it has compiled
    some_native.write_text(NATIVE.replace("return data[0] +", "return 1 + data[0] +"))
    found = first_of(some_native)
    after = {file.name for file in some_native.parent.glob("__pycache__/*.kernel")}

    assert found == (81, False)
    assert len(before) == len(after) == 1
    assert not before & after


def test_machine_code_takes_nothing_but_what_its_signature_says(some_native: Path):
    about = load(some_native).about
    table, flags = np.ones((2, 2), np.int64), np.zeros(1, np.uint8)
    frozen = flags.copy()
    frozen.setflags(write=False)

    for wrong in (table.T, table.astype(np.int32), table[0], [[1]]):
        with pytest.raises(TypeError, match="about takes"):
            about(wrong, flags, 1, 1.0)
    with pytest.raises(TypeError, match="about takes"):
        about(table, frozen, 1, 1.0)
    with pytest.raises(ValueError, match="argument"):
        about(table, flags, 1)


GREEDY = """
import numpy as np
from shroff.features.kernels.native import native


@native("int64(int64)")
def greedy(n):
    return n + int(np.random.random() * 6)
"""


@pytest.mark.slow
def test_a_kernel_that_needs_the_compiler_when_it_runs_is_refused(tmp_path: Path):
    file = tmp_path / "greedy.py"
    file.write_text(GREEDY)

    with pytest.raises(RuntimeError, match=r"the kernel greedy calls numba_.*, which only numba has"):
        load(file).greedy(3)


@pytest.fixture(name="elsewhere")
def _elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Where the compiler is told to keep its own; it reads its environment as it compiles, so it must read it again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "elsewhere"))
        yield tmp_path / "elsewhere"
    reload_config()


def test_machine_code_lies_where_the_compilers_own_does(some_native: Path, elsewhere: Path):
    first = load(some_native).first
    assert first.is_lacking

    first.keep()

    assert not first.is_lacking
    assert [file.name.split("_")[1] for file in elsewhere.iterdir()] == ["native.first"]
    assert not list(some_native.parent.glob("__pycache__/*.kernel"))


# ---- compiled beside the demo


@pytest.fixture(name="beside")
def _beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have the kernels be lacking, and a script in the place of the Python that would compile them."""

    def prepared(script: str) -> Path:
        python, noted = tmp_path / "python", tmp_path / "noted"
        python.write_text(f'#!/bin/sh\necho $$ "$@" > {noted}\n{script}\n')
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        monkeypatch.setattr(demo_kernels, "natives", lambda _: [SimpleNamespace(is_lacking=True)])
        monkeypatch.setattr(demo_kernels, "threads", lambda: 2)
        return noted

    return prepared


def test_every_kernel_is_compiled_with_an_image_and_before_the_tests():
    made = re.compile(r"^@(?:native|_?entry_point)\((?:.|\n)*?^def (\w+)\(", re.MULTILINE)
    files = (path for package in (shroff, shroff_plugins) for path in Path(package.__file__).parent.rglob("*.py"))
    named = sorted(name for path in files for name in made.findall(path.read_text(encoding="utf-8")))
    kept = demo_kernels.natives(demo_kernels.all_listed())

    assert all(isinstance(kernel, Native) for kernel in kept)
    assert sorted(item.__name__ for item in kept) == named


def test_what_lines_that_are_sent_together_call_is_compiled_beside_a_service():
    kept = demo_kernels.natives(demo_kernels.LIVE)
    of_scores = {"run_row", "begin", "undo"}
    names = [item.__name__ for item in kept]

    assert set(names[-len(of_scores) :]) == of_scores, "the last that are compiled"
    assert set(names[-len(kernels()) - len(of_scores) : -len(of_scores)]) == {kernel.__name__ for kernel in kernels()}


def test_the_demo_waits_for_kernels_that_are_compiled_beside_it(beside: Callable[[str], Path], tmp_path: Path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    noted = beside(f"cat {gate}; exit 1")

    with demo_kernels.kernels_beside(lambda: gate.write_text("told")) as wait:
        wait()

        assert noted.read_text().endswith(f"import keep_kernels; keep_kernels({demo_kernels.NATIVE!r})\n")


def test_a_demo_that_ends_early_leaves_nothing_that_compiles(beside: Callable[[str], Path]):
    noted = beside("exec sleep 1000")

    with demo_kernels.kernels_beside(pytest.fail):
        while not (noted.is_file() and noted.read_text()):
            pass

    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text().split()[0]), 0)


def test_what_gives_way_is_compiled_on_one_core_too_and_gives_way_first(
    beside: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    noted = beside("exit 1")
    monkeypatch.setattr(demo_kernels, "threads", lambda: 1)

    with demo_kernels.kernels_beside(gives_way=True) as wait:
        wait()

    assert "import give_way; give_way(); from" in noted.read_text()


@pytest.mark.parametrize(("threads", "is_lacking"), [(1, True), (2, False)])
def test_nothing_is_compiled_beside_it_without_need_or_room(
    beside: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, threads: int, is_lacking: bool
):
    noted = beside("exit 1")
    monkeypatch.setattr(demo_kernels, "threads", lambda: threads)
    monkeypatch.setattr(demo_kernels, "natives", lambda _: [SimpleNamespace(is_lacking=is_lacking)])

    with demo_kernels.kernels_beside(pytest.fail) as wait:
        wait()

    assert not noted.exists()
