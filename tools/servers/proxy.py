"""A network that breaks on purpose: a proxy on loopback that stands before any server, in threads of this process."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Literal, Self

Direction = Literal["up", "down"]  # to the server; to the client
BOTH: Final[tuple[Direction, Direction]] = ("up", "down")
_CHUNK_BYTES: Final = 1 << 16
_HANG_UP: Final = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset
_LIBC: Final = ctypes.CDLL(None)
_NOBODY: Final = bytes(16)  # an address of no family: connecting to it dissolves a connection, which Python cannot say


class Proxy:
    """Passes bytes on between clients and one server, as long as nothing else is asked for.

    What is asked for holds for connections that are open and for new ones, until `heal`. Connections that lost bytes
    are reset then, as the network does with half-open ones.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        """Begin to listen.

        Args:
            target: The server's port on loopback; nothing need listen there yet.
            port: Ours; 0 for any that is free. It stays ours while connections are refused.
        """
        self.target = target
        self._wanted = port
        self._changed = threading.Condition()
        self._pairs: set[_Pair] = set()
        self._held: set[Direction] = set()
        self._swallowed: set[Direction] = set()
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self._is_closed = False
        self.n_connections = 0
        self.n_swallowed_bytes = 0
        self._listener: socket.socket | None = None
        self._listen()

    @property
    def port(self) -> int:
        return self._wanted

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    # ---- faults

    def cut(self) -> None:
        """Reset every connection, on both sides. New ones are taken."""
        with self._changed:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()

    def refuse(self) -> None:
        """Refuse new connections, as a server that is not there. Those that are open stay; `cut` ends them."""
        with self._changed:
            if self._listener is not None:
                # A thread that waits in `accept` would keep it listening.
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None

    def hold(self, *directions: Direction) -> None:
        """Let nothing through, and keep it: what was sent arrives late, when all is well again."""
        with self._changed:
            self._held = set(directions or BOTH)

    def swallow(self, *directions: Direction) -> None:
        """Take bytes and throw them away: a half-open connection, on which nobody answers and nobody hangs up."""
        with self._changed:
            self._swallowed = set(directions or BOTH)
            self._changed.notify_all()

    def delay(self, seconds: float) -> None:
        """Each piece arrives so much later."""
        with self._changed:
            self._delay_s = seconds

    def throttle(self, bytes_per_s: float) -> None:
        """Let so many bytes through in a second, each way of each connection; 0 for no limit."""
        with self._changed:
            self._bytes_per_s = bytes_per_s

    def heal(self) -> None:
        """Pass everything on again. What was held arrives; what lost bytes is reset."""
        with self._changed:
            self._held, self._swallowed = set(), set()
            self._delay_s = self._bytes_per_s = 0.0
            broken = [pair for pair in self._pairs if pair.lost_bytes]
            if self._listener is None and not self._is_closed:
                self._listen()
            self._changed.notify_all()
        for pair in broken:
            pair.reset()

    @contextmanager
    def broken(self) -> Iterator[Self]:
        """Heal at the end, whatever happened."""
        try:
            yield self
        finally:
            self.heal()

    def close(self) -> None:
        """End it, and all connections through it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self.refuse()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- below: the threads

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._wanted))
        listener.listen(128)
        self._wanted = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True, name=f"proxy {self._wanted}").start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # it was closed
            try:
                # the system answers, not the server
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                _reset(client)  # nobody is behind us
                continue
            server.settimeout(None)
            pair = _Pair(client, server)
            with self._changed:
                self.n_connections += 1
                self._pairs.add(pair)
            ways: tuple[tuple[Direction, socket.socket, socket.socket], ...]
            ways = (("up", client, server), ("down", server, client))
            for direction, source, sink in ways:
                threading.Thread(target=self._pass_on, args=(pair, direction, source, sink), daemon=True).start()

    def _pass_on(self, pair: _Pair, direction: Direction, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK_BYTES):
                if self._is_let_through(pair, direction, data):
                    sink.sendall(data)
            if self._is_let_through(pair, direction, b""):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            pair.reset()
        if pair.has_ended(direction):
            with self._changed:
                self._pairs.discard(pair)

    def _is_let_through(self, pair: _Pair, direction: Direction, data: bytes) -> bool:
        """Wait as long as it takes; False for what is swallowed, the end of a stream included."""
        with self._changed:
            while direction in self._held and not pair.is_reset and not self._is_closed:
                self._changed.wait(0.2)
            if direction in self._swallowed:
                pair.lost_bytes = True
                self.n_swallowed_bytes += len(data)
                return False
            wait_s = self._delay_s + (len(data) / self._bytes_per_s if self._bytes_per_s else 0.0)
        if wait_s and data:
            time.sleep(wait_s)
        return not pair.lost_bytes


class _Pair:
    """The two sockets of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self._ended: set[Direction] = set()
        self._lock = threading.Lock()
        self.lost_bytes = False
        self.is_reset = False

    def reset(self) -> None:
        """Hang up on both sides at once."""
        with self._lock:
            if self.is_reset:
                return
            self.is_reset = True
            for item in self._sockets:
                _reset(item)

    def has_ended(self, direction: Direction) -> bool:
        """Note that nothing more comes this way; whether that holds for both, and all is closed."""
        with self._lock:
            self._ended.add(direction)
            if len(self._ended) < len(BOTH):
                return False
            for item in self._sockets:
                item.close()
            return True


def _reset(connection: socket.socket) -> None:
    """Close with a reset at once, and wake the threads that read from it or write to it, which closing does not."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _HANG_UP)
        _LIBC.connect(connection.fileno(), _NOBODY, len(_NOBODY))
    connection.close()
