"""Labels in the log: joined to their event, and whether they change the verdict in force.

Of two labels of one event the stronger source is in force; within one source the later
`known_at`, and at equal ones the later place. Nothing is overwritten.
"""

from __future__ import annotations

from collections.abc import Collection

from shroff.events.definitions import SOURCES
from shroff.events.event import Event
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct


class LabelEvent(FrozenStruct):
    """A label as the log holds it. `values` follow the fields of the type `label`.

    `of` is the labeled event. `changes` says whether the verdict in force was another
    one before: features see only those labels.
    """

    id: str
    time_ms: int
    values: tuple[Value, ...]
    of: Event
    changes: bool

    @property
    def type(self) -> str:
        return "label"

    @property
    def standing(self) -> VerdictInForce:
        return VerdictInForce(str(self.values[1]), str(self.values[2]), self.time_ms)


class VerdictInForce(FrozenStruct):
    """A verdict with what decides whether another one takes its place."""

    verdict: str
    source: str
    known_at_ms: int

    @property
    def strength(self) -> tuple[int, int]:
        """The greatest is in force, of equal ones the last in the log."""
        return -SOURCES.index(self.source), self.known_at_ms

    def takes_over(self, before: VerdictInForce | None) -> bool:
        """Whether this, which comes later in the log than what was in force, is in force from its place on."""
        return before is None or self.strength >= before.strength

    def changes(self, before: VerdictInForce | None) -> bool:
        """Whether another verdict than before is in force from its place on."""
        return self.takes_over(before) and (before is None or self.verdict != before.verdict)


def counted_verdict(verdict: str, reason: str | None, friendly: Collection[str]) -> str:
    """Counted verdict: fraud for a reason that the project calls friendly is no fraud of a stranger.

    >>> counted_verdict("fraud", "friendly", {"friendly"}), counted_verdict("fraud", None, {"friendly"})
    ('genuine', 'fraud')
    """
    return "genuine" if verdict == "fraud" and reason in friendly else verdict


LogEvent = Event | LabelEvent
