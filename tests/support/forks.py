"""Where `shroff` of tests comes from: a process that has the program loaded, and forks it for each command.

`tests/bin/shroff` stands first on the PATH of tests and speaks to it; `tests/bin/loaded-python` runs a text (`-c`), a
module (`-m`) or a file in the same way. The program that runs is a process of its own,
with the files, environment, signals and exit status that it would have; what is left out is a second of imports. Its
tests of start-up, closed streams, limits and damaged installations start the installed one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import importlib
import mmap
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tests.support import delays, pages
from tests.support.effort import times
from tests.support.patience import PATIENCE_S

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shroff.errors import Problem
    from shroff.language.yaml.text import Node
    from shroff.log.ruletests import CheckReport
    from shroff.project.definitions import Loaded
    from shroff.project.parse_cache import ReadOnce
    from shroff.web.http.routes import Route

ROOT: Final = Path(__file__).resolve().parents[2]
SHROFF: Final = ROOT / "tests" / "bin" / "shroff"
PYTHON: Final = SHROFF.with_name("loaded-python")
FOLDER: Final = "SHROFF_TEST_FORKS"
OWNER: Final = "SHROFF_TEST_OWNER"
SET: Final = "SHROFF_TEST_SET"  # constants that a program has otherwise, as in `shroff.web.http.messages.BODY_S_MAX=5`
SOCKET: Final = "socket"
SPENT: Final = "spent"  # seconds of a processor that ended programs took: a double
HEAVY: Final = (
    "confluent_kafka",
    "psycopg",
    "pymongo",
    "pymysql",
    "redis",
    "obstore",
    "pandas",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "sklearn.isotonic",
    "sklearn.linear_model",
    "scipy.stats",
    "shroff.cases.sql",
    "shroff.notices.sql",
    "shroff.services.writer.worker_runs",
    "shroff.web.server",  # half of what a service takes until it is ready
    "smtplib",
    "sqlalchemy.dialects.sqlite",
    "uvicorn",
    "uvloop",
    "xgboost",
)
TEXTS_KEPT: Final = 512  # of YAML, in each process: the templates have some 60
EXPRESSIONS_KEPT: Final = 4_096
STATEMENTS_KEPT: Final = 2_048  # of SQL
TEXT_MAX: Final = 50_000  # characters: above it is a text whose size is what is tested
PROJECTS_KEPT: Final = 16
LEAK_ROWS: Final = 40
SCORES_TIMED: Final = 400
_F_SETSIG: Final = 10


def begin(folder: Path, owner: int | None = None) -> None:
    """Let commands of this process and its children come from here, until the owner (this process) ends."""
    if not (folder / SPENT).exists():
        (folder / SPENT).write_bytes(struct.pack("d", 0.0))
    os.environ[FOLDER], os.environ[OWNER] = str(folder), str(owner or os.getpid())
    path = [part for part in os.environ["PATH"].split(os.pathsep) if part != str(SHROFF.parent)]
    os.environ["PATH"] = os.pathsep.join([str(SHROFF.parent), *path])


def begin_for(folder: Path, names: Iterable[str]) -> None:
    """Load the program once for several processes, which then `begin` with a folder of these names in `folder`."""
    os.environ[OWNER] = str(os.getpid())
    parts = [folder / name for name in names]
    for part in parts:
        part.mkdir()
        (part / SPENT).write_bytes(struct.pack("d", 0.0))
    command = [sys.executable, "-m", "tests.support.forks", *map(str, parts)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONWARNINGS": "ignore"}, check=True)


def pid_of(command: subprocess.Popen[Any]) -> int:
    """The process of the program that a command runs: what is to be frozen or looked at is not the one in front."""
    told = Path(os.environ[FOLDER]) / str(command.pid)
    while not (told.exists() and (text := told.read_text())):  # it is asked for at once
        assert command.poll() is None, "the command has ended"
        time.sleep(0.005)
    return int(text)


def spent_s() -> float:
    """What ended programs took of the processor so far, in seconds."""
    folder = os.environ.get(FOLDER)
    return struct.unpack("d", _spent_in(folder))[0] if folder else 0.0


@lru_cache(maxsize=1)
def _spent_in(folder: str) -> mmap.mmap:
    """What `_serve` writes, seen as it is now: two looks for each of all tests open no file."""
    with (Path(folder) / SPENT).open("rb") as file:
        return mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)


def make_cheap(patch: Callable[[object, str, object], None]) -> None:
    """Make cheap what nearly every test pays for, by `setattr` or one that takes it back.

    A password's hash takes a millisecond of a processor, where it takes 200 on purpose. A text of YAML is read once in
    a process, and an expression parsed once: that is two thirds of opening a project, tests open the same few, and the
    program shares nodes, too. So is the first version of a project; later ones share what is read of them, which tests
    look at. Tests of rules that passed are not run again for a project with the same files, and the routes of the same
    operations are made once: a fifth of what a service took. A page's template is compiled once, also for those that
    are forked from here. The leak test of a training reads few rows again, each by itself, as that was a fourth of it:
    its own laws say how many they read. Its latency is that of few scores. Statements of one kind of database are
    compiled once, and a program that this one starts beside itself comes from here, too.
    """
    from argon2 import PasswordHasher
    from jinja2 import Environment
    from starlette import routing

    from shroff.adapters.people import database
    from shroff.language import checker
    from shroff.language.yaml import text as yamltext
    from shroff.log import ruletests
    from shroff.people.passwords import Passwords
    from shroff.project import definitions
    from shroff.services.jobs import worker
    from shroff.services.writer import worker_runs
    from shroff.training import train
    from shroff.training.leak_test import SAMPLE, leak_test
    from shroff.web.api import operations
    from shroff.web.work import operation_processes

    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    patch(Passwords, "_hasher", property(lambda self: self._given or cheap))
    patch(yamltext, "_read_mending", _read_once(yamltext._read_mending))
    alone = type("ReadOnce", (definitions.ReadOnce,), {"__slots__": ()})
    patch(definitions, "ReadOnce", alone)  # what a call makes that is given none, and nobody has afterwards
    patch(definitions, "_declared", _declared_once(definitions._declared, alone))
    patch(checker, "parse", lru_cache(maxsize=EXPRESSIONS_KEPT)(checker.parse))
    patch(Environment, "__init__", _compiling_once(Environment.__init__))
    patch(ruletests, "check", _tested_once(ruletests.check))
    patch(operations, "routes", _routes_once(operations.routes))
    patch(routing, "compile_path", lru_cache(maxsize=EXPRESSIONS_KEPT)(routing.compile_path))
    patch(database, "create_engine", _compiling_statements_once(database.create_engine))
    for module in (operation_processes, worker, worker_runs):
        patch(module, "sys", SimpleNamespace(executable=str(PYTHON)))
    patch(leak_test, "__kwdefaults__", {**(leak_test.__kwdefaults__ or {}), "sample": times(LEAK_ROWS, SAMPLE)})
    patch(train, "SINGLE_SCORES", times(SCORES_TIMED, train.SINGLE_SCORES))


IMPATIENT: list[tuple[object, str, object]] = []  # what `make_patient` changed, as it was: pages of limits have that


def make_patient(patch: Callable[[object, str, object], None]) -> None:
    """Make a service wait for as long as tests do, by `setattr` or one that takes it back.

    By itself it turns posts away where the first one has waited for half a second, and gives a request up after 15:
    where many work, that comes of the machine.
    """
    from shroff.web import server, service
    from shroff.web.work import writer_client
    from shroff.worker import request_loop, writer_tasks

    for module in (writer_client, request_loop, writer_tasks):
        IMPATIENT.append((module, "PATIENCE_S", vars(module)["PATIENCE_S"]))
        patch(module, "PATIENCE_S", PATIENCE_S)
    patch(server, "Limits", partial(service.Limits, age_s_max=PATIENCE_S))
    patch(writer_tasks, "is_ready_to_foresee", _compiled)


def _compiled() -> bool:
    """Compile what scores in this process, where a service answers 503 until another process has done it."""
    from shroff.features.online.undo_kernel import KERNELS

    for kernel in KERNELS:
        kernel.keep()
    return True


def _read_once(read: Callable[[str, str, list[Problem]], Node | None]) -> Callable[..., Node | None]:
    @lru_cache(maxsize=TEXTS_KEPT)
    def kept(text: str, file: str) -> tuple[Node | None, tuple[Problem, ...]]:
        found: list[Problem] = []
        return read(text, file, found), tuple(found)

    def reading(text: str, file: str, found: list[Problem]) -> Node | None:
        if len(text) > TEXT_MAX:
            return read(text, file, found)
        node, problems = kept(text, file)
        found += problems
        return node

    return reading


def _declared_once(declare: Callable[..., Any], alone: type) -> Callable[..., Any]:
    kept: dict[tuple[frozenset[tuple[str, str]], frozenset[str]], tuple[Any, dict[Any, Any]]] = {}

    def declaring(files: Mapping[str, str], list_names: frozenset[str], read: ReadOnce, draft: Sequence[Any]) -> Any:
        is_first = read.last("typed") is None and not any(name.startswith("tables/") for name in files)
        if draft or not (type(read) is alone or is_first) or sum(map(len, files.values())) > TEXT_MAX:
            return declare(files, list_names, read, draft)
        key = frozenset(files.items()), list_names
        if (found := kept.pop(key, None)) is None:
            before = dict(read._kept)
            made = declare(files, list_names, read, draft)
            found = made, {name: value for name, value in read._kept.items() if before.get(name) is not value}
        read._kept |= found[1]  # as if it had been read by this one
        kept[key] = found  # as the last one
        for oldest in list(kept)[:-PROJECTS_KEPT]:
            kept.pop(oldest, None)  # another thread may have been quicker
        return found[0]

    return declaring


def _tested_once(check: Callable[..., CheckReport]) -> Callable[..., CheckReport]:
    from shroff.log import ruletests

    run = ruletests._Runner.run
    kept: dict[frozenset[tuple[str, str]], Any] = {}  # what passed tests asked lists, by the files of the project

    def checking(loaded: Loaded, hasher: Any, read: ReadOnce | None = None, *more: Any) -> CheckReport:
        found, files = loaded.definitions, loaded.files
        is_counted = ruletests._Runner.run is not run  # by a test of when they are run
        if is_counted or found is None or files is None or read is None or read.last("tests") is not None:
            return check(loaded, hasher, read, *more)
        key = frozenset(files.items())
        if key in kept and (passed := ruletests._Passed(found, kept[key])).holds(found):
            read.keep("tests", passed)
        report = check(loaded, hasher, read, *more)
        passed = read.last("tests")
        if passed is not None and sum(map(len, files.values())) <= TEXT_MAX:
            kept[key] = passed.answers
            if len(kept) > TEXTS_KEPT:
                del kept[next(iter(kept))]
        return report

    return checking


def _routes_once(make: Callable[[], list[Route]]) -> Callable[[], list[Route]]:
    from shroff.operations import manifest
    from shroff.operations.declaration import OPERATIONS

    kept: list[tuple[list[object], list[Route]]] = []

    def made() -> list[Route]:
        manifest.load_all()
        declared = list[object](OPERATIONS.values())
        if not kept or list(map(id, kept[0][0])) != list(map(id, declared)):
            kept[:] = [(declared, make())]
        return [*kept[0][1]]

    return made


def _compiling_once(begin: Callable[..., None]) -> Callable[..., None]:
    from jinja2 import BytecodeCache
    from jinja2.bccache import Bucket

    class Compiled(BytecodeCache):
        def __init__(self) -> None:
            self.kept: dict[tuple[str, str], Any] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            bucket.code = self.kept.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket: Bucket) -> None:
            self.kept[bucket.key, bucket.checksum] = bucket.code

    compiled = Compiled()

    def beginning(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.bytecode_cache = self.bytecode_cache or compiled

    return beginning


def _compiling_statements_once(create: Callable[..., Engine]) -> Callable[..., Engine]:
    """Engines of one kind share what they compile: by itself each one compiles all of its statements again."""
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
    from sqlalchemy.util import LRUCache

    class Dialect(SQLiteDialect_pysqlite):
        supports_statement_cache = True

        def __eq__(self, other: object) -> bool:
            return type(self) is type(other)

        def __hash__(self) -> int:
            return hash(type(self))

    compiled = LRUCache[Any, Any](STATEMENTS_KEPT)

    def creating(url: str, **options: Any) -> Engine:
        engine = create(url, **options)
        if type(engine.dialect) is SQLiteDialect_pysqlite:
            engine.dialect.__class__ = Dialect
            engine._compiled_cache = compiled
        return engine

    return creating


def load_heavy() -> None:
    """Import what takes long, before a process is forked: each one would import it again."""
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


# ---- below: the process to fork from


def main(folders: Sequence[Path]) -> None:
    """Listen, and go on beside whoever asked; they may connect when this returns in their process."""
    listening = [_listening(folder) for folder in folders]
    if os.fork():
        os._exit(0)
    os.setsid()
    _write_to(folders[0])
    owner = os.pidfd_open(int(os.environ[OWNER]))
    _load()
    gc.collect()
    gc.freeze()
    for folder, listener in zip(folders, listening, strict=True):
        if len(folders) == 1 or not os.fork():
            _write_to(folder)
            pages.gather()
            return _serve(listener, owner, folder / SPENT)
    os._exit(0)


def _listening(folder: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (folder / SOCKET).unlink(missing_ok=True)
    found.bind(str(folder / SOCKET))
    found.listen(128)
    return found


def _write_to(folder: Path) -> None:
    with (folder / "errors").open("ab") as errors, Path(os.devnull).open("r+b") as nothing:
        for number, file in enumerate((nothing, errors, errors)):
            os.dup2(file.fileno(), number)


def _load() -> None:
    """Import what commands need, and load compiled code. Nothing here may start a thread that a fork would lack."""
    load_heavy()
    import shroff.cli

    for module in pkgutil.iter_modules(shroff.cli.__path__):
        importlib.import_module(f"shroff.cli.{module.name}")
    from shroff import config
    from shroff.services import project as app
    from shroff.web.pages import renderer
    from shroff.web.work import warmup
    from tests.recovery.harness import make_project, write_events

    make_cheap(setattr)
    make_patient(setattr)
    warmup.BEGIN_S = 3_600.0  # no service makes pages ready that nobody opens
    with tempfile.TemporaryDirectory() as folder:
        project = app.open(make_project(Path(folder) / "bank"))
        for seed in (1, 2):
            project.ingest([write_events(Path(folder) / "events.jsonl", 200, seed)])
        project.verify()
        for name in config.TEMPLATES:
            _ = app.make_project(Path(folder) / name / "bank", name)[0].definitions  # as most tests call it
    loader = renderer.environment().loader
    for name in loader.list_templates() if loader else ():
        renderer.environment().get_template(name)
    delays.begin()


def _serve(listening: socket.socket, owner: int, spent: Path) -> None:
    """Fork what is asked for, and tell how it ended; until the owner has ended."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, tuple[socket.socket, Path]] = {}
    with spent.open("r+b") as file:
        total = mmap.mmap(file.fileno(), 8)
    while True:
        ready, _, _ = select.select([listening, owner, woken], [], [])
        if owner in ready:
            return
        if woken in ready:
            os.read(woken, 4_096)
        while running:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            total[:] = struct.pack("d", struct.unpack("d", total[:])[0] + used.ru_utime + used.ru_stime)
            connection, told = running.pop(pid)
            told.unlink(missing_ok=True)  # or a later command with this number would be told of this process
            with connection, contextlib.suppress(OSError):
                connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "little", signed=True))
        if listening in ready:
            connection, _ = listening.accept()
            with contextlib.suppress(OSError, ValueError):
                _fork(connection, running, spent.parent)


def _fork(connection: socket.socket, running: dict[int, tuple[socket.socket, Path]], folder: Path) -> None:
    head, files, _, _ = socket.recv_fds(connection, 8, 4, socket.MSG_WAITALL)
    missing, data = int.from_bytes(head, "little"), b""
    while len(data) < missing:
        part = connection.recv(missing - len(data))
        if not part:
            return
        data += part
    pid = os.fork()
    if not pid:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other, _ in running.values():
            other.close()
        _run(files, data, connection)
    for file in files:
        os.close(file)
    asked_by, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    running[pid] = connection, folder / str(asked_by)
    running[pid][1].write_text(str(pid))
    connection.sendall(pid.to_bytes(8, "little"))


def _run(files: list[int], data: bytes, connection: socket.socket) -> NoReturn:
    """In the forked process: never comes back."""
    code = 70
    try:
        umask, is_ignoring, folder, count, *more = data.split(b"\0")
        for number, file in enumerate(files[:3]):
            os.dup2(file, number)
        alive = fcntl.fcntl(files[3], fcntl.F_DUPFD_CLOEXEC, 200)
        connection.close()
        os.closerange(3, 200)
        _end_with(alive)
        os.umask(int(umask))
        os.chdir(folder)
        os.environ.clear()
        for pair in more[int(count) :]:
            name, _, value = pair.partition(b"=")
            os.environb[name] = value
        time.tzset()
        tempfile.tempdir = None  # as TMPDIR says now
        sys.argv = [os.fsdecode(item) for item in more[: int(count)]]
        sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w")
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
        signal.signal(signal.SIGINT, signal.SIG_IGN if int(is_ignoring) else signal.default_int_handler)
        if Path(sys.argv[0]).name == PYTHON.name:
            code = 1
            _interpret(sys.argv[1:])
            code = 0
        else:
            from shroff.__main__ import main as program

            for constant in os.environ.pop(SET, "").split():
                place, _, value = constant.partition("=")
                module, _, constant_name = place.rpartition(".")
                was = getattr(importlib.import_module(module), constant_name)
                for name, file in list(sys.modules.items()):  # those, too, that took it from there
                    if name.startswith("shroff.") and getattr(file, constant_name, None) is was:
                        setattr(file, constant_name, type(was)(value))
            program()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 (a forked process must not go on as the one it came from)
        traceback.print_exc()
    _end(code)


def _interpret(words: list[str]) -> None:
    """Run a program as the interpreter does."""
    sys.path[0:0] = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    words = words[words[0] == "-P" :]  # the current folder is not looked in here anyway
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv, sys.path[0:0] = ["-c", *words[2:]], [""]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), vars(main))
    else:
        sys.argv, sys.path[0:0] = words, [str(Path(words[0]).resolve().parent)]
        sys.executable = str(PYTHON)  # what it starts with the interpreter comes from here, too
        runpy.run_path(words[0], run_name="__main__")


def _text(number: int, mode: str) -> object:
    is_line = mode == "w" and (number == 2 or os.isatty(number) or "PYTHONUNBUFFERED" in os.environ)
    errors = "backslashreplace" if number == 2 else "strict"
    return open(number, mode, encoding="utf-8", errors=errors, closefd=False, buffering=1 if is_line else -1)


def _end_with(alive: int) -> None:
    """Be killed when the process in front of this one is: nobody writes into this pipe, so its only word is its end."""
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([alive], [], [], 0)[0]:
        os.kill(os.getpid(), signal.SIGKILL)


def _end(code: int) -> NoReturn:
    """End as an interpreter does: wait for threads, call what was registered, write what is buffered."""
    import atexit
    import threading

    with contextlib.suppress(BaseException):
        threading._shutdown()  # what an interpreter calls at its end
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or 120
    ctypes.CDLL(None).fflush(None)
    os._exit(code)


if __name__ == "__main__":
    main([Path(item) for item in sys.argv[1:]])
