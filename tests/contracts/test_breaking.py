"""The tools that break things: a network, a disk and a clock are as bad as was asked, and whole again after."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tools.servers.errors import UnavailableError
from tools.servers.proxy import Proxy
from tools.servers.surroundings import Surroundings, library

DAY_MS = 86_400_000


# ---- the network


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(4_096):
                connection.sendall(data)

    def take() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=take, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as made:
        yield made


def client(proxy: Proxy) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", proxy.port), timeout=120))


def said(connection: socket.socket, words: bytes) -> bytes:
    connection.sendall(words)
    return connection.recv(4_096)


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes for a while."""
    connection.settimeout(0.3)  # nothing comes
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(120)
    return False


def test_what_is_sent_passes_through_a_proxy_and_its_end_too(proxy: Proxy):
    with client(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert proxy.n_connections == 1


def test_connections_that_are_cut_are_reset_and_new_ones_are_taken(proxy: Proxy):
    with client(proxy) as first, client(proxy) as other:
        assert said(first, b"hello") == said(other, b"hello") == b"hello"
        proxy.cut()
        for connection in (first, other):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    with client(proxy) as again:
        assert said(again, b"again") == b"again"


def test_new_connections_are_refused_until_all_is_well(proxy: Proxy):
    with client(proxy) as open_already:
        assert said(open_already, b"hello") == b"hello"
        with proxy.broken():
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                client(proxy)
            assert said(open_already, b"still") == b"still"
    with client(proxy) as again:
        assert said(again, b"again") == b"again"


def test_a_server_that_is_not_there_resets(proxy: Proxy):
    with socket.socket() as held:  # so that nobody else listens there
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        #  while connecting or after it: the kernel may tell of the reset before connect has returned
        with Proxy(port) as before_nobody, pytest.raises(ConnectionResetError), client(before_nobody) as connection:
            connection.recv(1)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_half_open_connections_are_silent_and_reset_when_all_is_well(proxy: Proxy, direction: str):
    with client(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        proxy.swallow(direction)
        connection.sendall(b"lost")
        assert is_silent(connection)
        assert proxy.n_swallowed_bytes == 4
        proxy.heal()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with client(proxy) as again:
        assert said(again, b"again") == b"again"


def test_what_is_held_arrives_late_and_whole(proxy: Proxy):
    with client(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        proxy.hold("up")
        connection.sendall(b"late")
        assert is_silent(connection)
        proxy.heal()
        assert connection.recv(4_096) == b"late"


def test_a_delay_and_a_throttle_take_their_time(proxy: Proxy):
    def took_s() -> float:
        started = time.monotonic()
        assert said(connection, b"x" * 100) == b"x" * 100
        return time.monotonic() - started

    def is_within(least_s: float, most_s: float) -> bool:
        """Whether each of some takes so long at least, and one no longer: the machine may be busy with others."""
        found = [took_s()]
        while found[-1] >= most_s and len(found) < 50:
            found.append(took_s())
        return least_s <= min(found) and found[-1] < most_s

    with client(proxy) as connection:
        assert is_within(0.0, 0.1)
        proxy.delay(0.1)
        assert is_within(0.2, 0.5)
        proxy.heal()
        proxy.throttle(1_000)
        assert is_within(0.2, 0.5)
        proxy.heal()
        assert is_within(0.0, 0.1)


def test_a_connection_whose_client_does_not_read_is_cut_as_well(proxy: Proxy):
    with client(proxy) as connection:
        connection.settimeout(0.5)  # nobody reads
        with pytest.raises(TimeoutError):
            connection.sendall(bytes(100_000_000))  # the way back is full, then the way there
        proxy.cut()
        received = iter(lambda: connection.recv(1 << 20), b"")  # what was on its way, and then the reset
        with pytest.raises(ConnectionResetError):
            list(received)


def test_a_closed_proxy_is_gone(echo: int):
    with Proxy(echo) as proxy, client(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        proxy.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            client(proxy)


# ---- the disk and the clock


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[Surroundings]:
    (tmp_path / "disk").mkdir()
    with Surroundings(tmp_path / "disk") as made:
        try:
            library()
        except UnavailableError as error:
            if os.environ.get("CI"):
                pytest.fail(f"a C compiler must be there in CI: {error}")
            pytest.skip(reason=f"no C compiler: {error}")
        yield made


@pytest.fixture
def run(surroundings: Surroundings, tmp_path: Path) -> Callable[[str], list[object]]:
    """Run some Python in these surroundings; gives the values that it told by `tell`."""

    def in_surroundings(code: str) -> list[object]:
        told = "import json, os, sqlite3, time\ndef tell(value): print(json.dumps(value), flush=True)\n"
        done = subprocess.run(
            [sys.executable, "-c", told + code],
            cwd=tmp_path,
            env={**os.environ, **surroundings.env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return [json.loads(line) for line in done.stdout.splitlines()] + ([done.returncode] if done.returncode else [])

    return in_surroundings


WRITES = """
import sys
for path in ("disk/a", "other"):
    with open(path, "wb", buffering=0) as file:
        tell(file.write(b"x" * 100))
        try:
            tell(file.write(b"y" * 100))
            tell(os.pwrite(file.fileno(), b"z" * 50, 20))
            tell(file.write(b"y" * 100))
        except OSError as error:
            tell(error.strerror)
"""


def test_a_full_disk_takes_what_has_room_and_what_makes_no_file_longer(
    surroundings: Surroundings, run: Callable[[str], list[object]]
):
    surroundings.full(150)
    assert run(WRITES) == [100, 50, 50, "No space left on device", 100, 100, 50, 100]
    assert surroundings.n_refused == 2


def test_sqlite_finds_its_disk_full_and_goes_on_when_there_is_room(
    surroundings: Surroundings, run: Callable[[str], list[object]]
):
    insert = """
db = sqlite3.connect("disk/log.db", isolation_level=None)
db.execute("PRAGMA journal_mode = wal")
try:
    db.execute("CREATE TABLE IF NOT EXISTS t (x)")
    db.execute("INSERT INTO t VALUES (zeroblob(100000))")
    tell("stored")
except sqlite3.Error as error:
    tell(error.sqlite_errorname)
"""
    surroundings.full(50_000)
    assert run(insert) == ["SQLITE_FULL"]
    surroundings.heal()
    assert run(insert) == ["stored"]


def test_a_slow_disk_is_as_slow_as_it_was_asked_to_be(surroundings: Surroundings, run: Callable[[str], list[object]]):
    syncs = """
with open("disk/a", "wb", buffering=0) as file, open("other", "wb") as other:
    for one in (file, other):
        started = time.monotonic()
        for _ in range(5):
            os.fsync(one.fileno())
        tell(time.monotonic() - started)
"""
    surroundings.slow(sync_ms=40)
    ours, others = run(syncs)
    assert 0.2 <= ours < 0.6
    assert others < 0.1
    assert surroundings.n_slowed == 5


def test_one_sync_fails_and_the_next_does_not(surroundings: Surroundings, run: Callable[[str], list[object]]):
    syncs = """
with open("disk/a", "wb") as file:
    for _ in range(4):
        try:
            tell(os.fsync(file.fileno()))
        except OSError as error:
            tell(error.strerror)
"""
    surroundings.fail_sync(2)
    assert run(syncs) == [None, "Input/output error", None, None]
    assert surroundings.n_failed == 1


def test_a_process_dies_between_two_writes(
    surroundings: Surroundings, run: Callable[[str], list[object]], tmp_path: Path
):
    surroundings.kill_at_step(4)
    assert run("with open('disk/a', 'wb', buffering=0) as file:\n    for _ in range(9): file.write(b'x')\n") == [-9]
    assert (tmp_path / "disk" / "a").read_bytes() == b"xxx"


@pytest.mark.parametrize("days", [400, -400])
def test_the_clock_jumps_and_what_only_measures_does_not(
    surroundings: Surroundings, run: Callable[[str], list[object]], days: int
):
    asked = """
import datetime, queue
tell(time.time_ns() // 1_000_000)
tell(int(datetime.datetime.now(datetime.timezone.utc).timestamp() * 1_000))
tell(int(sqlite3.connect(":memory:").execute("SELECT unixepoch()").fetchone()[0] * 1_000))
started = time.monotonic()
try:
    queue.Queue().get(timeout=0.2)
except queue.Empty:
    tell(time.monotonic() - started)
"""
    surroundings.shift_clock(days * DAY_MS)
    began_ms = time.time_ns() // 1_000_000
    *clocks, waited_s = run(asked)
    ended_ms = time.time_ns() // 1_000_000
    for told_ms in clocks:
        assert began_ms - 1_000 <= told_ms - days * DAY_MS <= ended_ms  # SQLite tells whole seconds
    assert 0.2 <= waited_s < 60
    assert surroundings.n_shifted >= 3


def test_without_a_fault_nothing_is_felt(surroundings: Surroundings, run: Callable[[str], list[object]]):
    assert run(WRITES) == [100, 100, 50, 100] * 2
    found = surroundings.n_refused, surroundings.n_slowed, surroundings.n_failed, surroundings.n_shifted
    assert found == (0, 0, 0, 0)
