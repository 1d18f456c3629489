"""Open connections: how many there may be, in all and of one address, and which of them makes room for a new one."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final, Protocol

CONNECTIONS_MAX: Final = 12_000
OF_ADDRESS_MAX: Final = 1_000  # of an office or a program's pool there are some hundreds


class Connection(Protocol):
    """A connection of one address that can be closed at once."""

    network: str  # as `throttle.network_of`; empty for a proxy, which brings requests of many

    def close(self) -> None:
        """Close it."""


class Connections:
    """The open connections of a service. For one event loop."""

    def __init__(self) -> None:
        self.most, self.of_address_max = CONNECTIONS_MAX, OF_ADDRESS_MAX
        self._open: Counter[str] = Counter()
        self._count = 0
        self._idle: dict[Connection, None] = {}  # those that wait for a request, the one idle longest first
        self._idle_of: defaultdict[str, dict[Connection, None]] = defaultdict(dict)

    def add(self, one: Connection) -> str:
        """Count a new one, which waits for a request; gives why there is no room for it, empty where there is.

        The one that has been idle longest is closed to make room: of the same address, where that has too many.
        """
        self._open[one.network] += 1
        self._count += 1
        self.wait(one)
        if one.network and self._open[one.network] > self.of_address_max:
            return self._make_room(
                one, self._idle_of[one.network], f"{self.of_address_max:,} connections of one address"
            )
        if self._count > self.most:
            return self._make_room(one, self._idle, f"{self.most:,} connections")
        return ""

    def _make_room(self, one: Connection, idle: dict[Connection, None], many: str) -> str:
        longest = next(iter(idle))
        if longest is one:
            return f"{many} are open and in use"
        self.work(longest)
        longest.close()
        return ""

    def wait(self, one: Connection) -> None:
        """It waits for a request from now on."""
        self._idle[one] = self._idle_of[one.network][one] = None

    def work(self, one: Connection) -> None:
        """A request of it is being answered."""
        self._idle.pop(one, None)
        self._idle_of[one.network].pop(one, None)

    def remove(self, one: Connection) -> None:
        """It is closed."""
        self.work(one)
        self._count -= 1
        self._open[one.network] -= 1
        if not self._open[one.network]:
            del self._open[one.network], self._idle_of[one.network]
