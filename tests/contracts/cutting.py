"""A wire that is cut when certain words go over it, to a server and back."""

from __future__ import annotations

import socket
import threading
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Literal, Self


@dataclass
class Wire:
    """A listener that passes everything on to a server.

    Once `cut_at` is set, the next words of a client that hold it cut the connection: `before` they reach the server,
    or after they did and before its answer, `behind`. With `mute` nothing is cut: whatever is sent from then on is
    taken and goes nowhere, as behind a gateway that has forgotten the connection. With `is_slow` a client gets the
    server's last words, and does not hear that the server closed.
    """

    host: str
    port: int
    cut_at: bytes = b""
    how: Literal["before", "behind", "mute"] = "before"
    cuts: int = 0
    is_slow: bool = False
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def own_port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.host, self.port))
            ends = Ends(client, server)
            threading.Thread(target=self._pass_on, args=(ends, client, server, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(ends, server, client, False), daemon=True).start()

    def _pass_on(self, ends: Ends, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        try:
            while data := source.recv(65_536):
                if is_client and self.cut_at and self.cut_at in data:
                    self.cut_at, self.cuts, ends.is_mute = b"", self.cuts + 1, True
                    if self.how == "before":
                        return
                    if self.how == "mute":
                        while source.recv(65_536):
                            pass
                        return
                elif ends.is_mute:  # the server has done what it was told, and nobody hears of it
                    return
                with suppress(OSError) if self.is_slow else nullcontext():
                    target.sendall(data)
        except OSError:
            return
        finally:
            if is_client or not self.is_slow:
                ends.close()


@dataclass
class Ends:
    """Both ends of one connection."""

    client: socket.socket
    server: socket.socket
    is_mute: bool = False

    def close(self) -> None:
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                end.close()
