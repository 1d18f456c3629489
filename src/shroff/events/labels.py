"""Labels of the log, each joined to its event, and the rule by which one verdict of an event is in force.

Of two labels of one event, the one of the stronger source is in force. Of labels of one source it is the one with the
later `known_at`, and at equal times the one later in the log. No label is ever overwritten.
"""

from __future__ import annotations

from collections.abc import Collection

from shroff.events.definitions import SOURCES
from shroff.events.event import Event
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct


class LabelEvent(FrozenStruct):
    """A label of the log. Its `values` are in the order of the fields of the type `label`.

    `of` is the labeled event. `changes` is true if the label changed the verdict in force. Features see only such
    labels.
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
    """A verdict, with the source and time that decide whether a later verdict replaces it."""

    verdict: str
    source: str
    known_at_ms: int

    @property
    def strength(self) -> tuple[int, int]:
        """Rank of the verdict: the greatest of an event is in force, and of equal ones the last in the log."""
        return -SOURCES.index(self.source), self.known_at_ms

    def takes_over(self, before: VerdictInForce | None) -> bool:
        """Whether this verdict replaces `before`, the verdict in force, which is earlier in the log."""
        return before is None or self.strength >= before.strength

    def changes(self, before: VerdictInForce | None) -> bool:
        """Whether it replaces `before` with a different verdict, or is the first verdict of its event."""
        return self.takes_over(before) and (before is None or self.verdict != before.verdict)


def counted_verdict(verdict: str, reason: str | None, friendly: Collection[str]) -> str:
    """Return the verdict to count: fraud for a reason that the project lists as friendly counts as genuine.

    >>> counted_verdict("fraud", "friendly", {"friendly"}), counted_verdict("fraud", None, {"friendly"})
    ('genuine', 'fraud')
    """
    return "genuine" if verdict == "fraud" and reason in friendly else verdict


LogEvent = Event | LabelEvent
