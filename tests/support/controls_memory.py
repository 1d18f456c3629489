"""What lanes are told, in memory: for tests of lanes, and of the contract itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shroff.errors import UsageError
from shroff.streams.controls import Message

LANES = 2


@dataclass(slots=True)
class RouteDoc:
    """All that two lanes were told, by part."""

    parts: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))


@dataclass(slots=True)
class MemoryControls:
    """Keeps every promise of `streams.controls.Controls` in one process."""

    told: RouteDoc
    lane: int
    _at: int = 0

    @property
    def part(self) -> str:
        return f"control/{self.lane}"

    def start(self, offset: str) -> None:
        self._at = int(offset or 0)

    def newest(self, within_s: float = 0.0) -> Message | None:
        there = self.told.parts[self.part]
        before, self._at = self._at, max(self._at, len(there))
        return Message(str(self._at - 1), there[-1]) if self._at > before else None

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class MemoryPost:
    """Keeps every promise of `streams.controls.ControlTopic` in one process."""

    told: RouteDoc

    def publish(self, body: bytes, lanes: int) -> Mapping[str, int]:
        if lanes > LANES:
            raise UsageError(f"nothing was sent to the lanes: there is no lane {lanes - 1}")
        return self._sent({f"control/{lane}": [body] for lane in range(lanes)})

    def labels(self, bodies: Mapping[int, Sequence[bytes]]) -> Mapping[str, int]:
        return self._sent({f"labels/{lane}": values for lane, values in bodies.items()})

    def _sent(self, values: Mapping[str, Sequence[bytes]]) -> Mapping[str, int]:
        for part, bodies in values.items():
            self.told.parts[part] += bodies
        return {part: len(self.told.parts[part]) - 1 for part in values}
