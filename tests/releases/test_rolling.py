"""A rolling upgrade: a worker of an earlier release leads, this program stands by, takes over, and decides alike.

What the worker of a release wrote is recorded once, by that release:

    python -m tests.releases.test_rolling
"""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import shroff
from shroff.adapters.log.sqlite import VERSION
from shroff.app import project as app
from shroff.cli.main import run
from tests.recovery.harness import ended, forked
from tests.releases.test_releases import made
from tests.support import forks
from tests.support.telling import NOW_MS, payment

HERE = Path(__file__).parent
RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("rolling/*.tar.xz"))
COMMITS = {"0.1.0": "95483a6c"}  # of releases without a tag
PARTS = (60, 120, 240)  # lines of the file: where the standby begins, where the worker is killed, and all
FROM = ("run", "--from", "payments.jsonl", "--as", "payment")
ENDS_S = 60.0
COMPILED_S = 600.0  # a program of a release has no kernels in the cache: half a minute of both cores

pytestmark = pytest.mark.slow


def lines() -> list[bytes]:
    """Payments of some cards, behind those that the project has."""
    every = (
        payment(f"r-{at}", f"{at * 37 % 400 + 1}.{at % 90 + 10}", card=f"c-{at % 7}", at=NOW_MS + 1_000 * at)
        for at in range(1, PARTS[-1] + 1)
    )
    return [msgspec.json.encode(one) + b"\n" for one in every]


def decisions(folder: Path) -> list[tuple[int, str]]:
    with app.open_exactly(folder).opened.reading() as log:
        return [(row.seq, row.document.decode()) for rows in log.decisions_after() for row in rows]


def record() -> None:
    """Keep the log of this release at the first two places, and its decisions of all lines."""
    path = HERE / "rolling" / f"{shroff.__version__}.tar.xz"
    if path.exists():
        sys.exit(f"{path.name} is there already: what a release wrote never changes")
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(path, "w:xz", preset=9) as archive:
        os.chdir(scratch)
        folder = Path("bank")
        made(folder)
        for count, name in zip(PARTS, ("bank", "later.db", ""), strict=True):
            Path("payments.jsonl").write_bytes(b"".join(lines()[:count]))
            assert run(["-C", "bank", *FROM]) == 0
            for lock in (folder / ".shroff").glob("*.lock"):
                lock.unlink()
            with closing(sqlite3.connect(folder / ".shroff" / "log.db")) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if name:
                archive.add(folder if name == "bank" else folder / ".shroff" / "log.db", name)
        Path("decided.json").write_bytes(msgspec.json.encode(decisions(folder)))
        for name in ("payments.jsonl", "decided.json"):
            archive.add(name)


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A release whose project, and what it said of it, are in the current folder."""
    with tarfile.open(HERE / "rolling" / f"{request.param}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # since Python 3.11.4
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return str(request.param)


def version() -> int:
    with closing(sqlite3.connect("bank/.shroff/log.db")) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def wait_for(path: str) -> None:
    until_s = time.monotonic() + ENDS_S
    while not Path(path).exists():
        assert time.monotonic() < until_s, path
        time.sleep(0.01)


def write_as_that_release() -> None:
    """Hold the log as a worker of the release does, add what it wrote next, and stay."""
    log = Path("bank/.shroff/log.db")
    with log.with_suffix(".lock").open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path("leads").touch()
        wait_for("go-on")
        with closing(sqlite3.connect(log, timeout=ENDS_S, isolation_level=None)) as database:
            database.execute("ATTACH 'later.db' AS later")
            named = "SELECT name FROM later.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            tables = [name for (name,) in database.execute(named)]
            copied = (f"INSERT OR REPLACE INTO main.{name} SELECT * FROM later.{name}" for name in tables)
            database.executescript(";\n".join(["BEGIN IMMEDIATE", *copied, "COMMIT"]))
        Path("has-written").touch()
        time.sleep(ENDS_S)


@pytest.fixture
def stand_by() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start this program as a standby; gives it when it is one. It is gone when the test ends."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [str(forks.SHROFF), "-C", "bank", *FROM, "--standby", "--json", *words]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        assert begun[-1].stderr is not None
        assert any("is the active writer" in line for line in iter(begun[-1].stderr.readline, ""))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def test_this_release_is_kept():
    assert shroff.__version__ in RELEASES


def test_a_worker_of_a_release_is_taken_over_from_and_decisions_stay_equal(release, stand_by):
    before = version()
    older = forked(write_as_that_release)
    wait_for("leads")
    standby = stand_by()
    Path("go-on").touch()
    wait_for("has-written")
    assert version() == before, "while a worker of the release leads, its tables stay"
    os.kill(older, signal.SIGKILL)
    assert ended(older) == signal.SIGKILL
    out, errors = standby.communicate(timeout=ENDS_S)

    assert standby.returncode == 0, errors
    assert "taking over" in errors
    assert "waiting" not in errors, "it read the tables of the release"
    counts = msgspec.json.decode(out)
    assert (counts["decisions"], counts["duplicates"]) == (PARTS[2] - PARTS[1], 0)
    assert [[*row] for row in decisions(Path("bank"))] == msgspec.json.decode(Path("decided.json").read_bytes())
    assert version() == VERSION > before, "a program of the release refuses tables whose number is above its own"
    assert app.open_exactly(Path("bank")).verify().mismatches == 0


def of_release(release: str, words: Sequence[str]) -> list[str]:
    """A command of the program of a release, taken out of the repository's history."""
    root, out = HERE.parents[1], Path("older")
    if not out.exists():
        out.mkdir()
        packed = subprocess.run(
            ["git", "-C", str(root), "archive", COMMITS.get(release, f"v{release}"), "src"],
            capture_output=True,
            check=False,
        )
        assert packed.returncode == 0, f"the history is needed (git fetch --unshallow): {packed.stderr!r}"
        subprocess.run(["tar", "x", "-C", str(out)], input=packed.stdout, check=True)
    start = "import sys; from shroff.cli.main import run; sys.exit(run(sys.argv[1:]))"
    return ["env", f"PYTHONPATH={out.resolve() / 'src'}", sys.executable, "-c", start, *words]


@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_program_of_a_release_is_ended_while_it_leads_and_refuses_the_newer_tables(release, stand_by, end):
    every, read = Path("payments.jsonl").read_bytes(), PARTS[1]
    Path("payments.jsonl").write_bytes(b"".join(every.splitlines(keepends=True)[:read]))
    expected = msgspec.json.decode(Path("decided.json").read_bytes())
    older = subprocess.Popen(of_release(release, ["-C", "bank", *FROM, "--until-idle", "60s"]))
    until_s = time.monotonic() + COMPILED_S
    while len(decisions(Path("bank"))) < len(expected) - PARTS[2] + read:
        assert older.poll() is None
        assert time.monotonic() < until_s
        time.sleep(0.1)
    standby = stand_by("--until-idle", "10s")
    older.send_signal(end)
    Path("payments.jsonl").write_bytes(every)  # whoever decides the rest
    older.wait(COMPILED_S)
    _, errors = standby.communicate(timeout=COMPILED_S)
    refused = subprocess.run(of_release(release, ["-C", "bank", *FROM]), capture_output=True, text=True, check=False)

    assert standby.returncode == 0, errors
    assert [[*row] for row in decisions(Path("bank"))] == expected
    assert refused.returncode == 3
    assert f"was written by a newer shroff: its tables are version {VERSION}" in refused.stderr


if __name__ == "__main__":
    record()
