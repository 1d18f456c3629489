"""Labels in the log: joined to their event, and whether they change the verdict in force.

Of two labels of one event the stronger source is in force; within one source the later
`known_at`, and at equal ones the later place. Nothing is overwritten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

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


class VerdictInForce(FrozenStruct):
    """A verdict with what decides whether another one takes its place."""

    verdict: str
    source: str
    known_at_ms: int

    def gives_way_to(self, other: VerdictInForce) -> bool:
        """Whether `other`, which comes later in the log, is in force from its place on."""
        ours, theirs = SOURCES.index(self.source), SOURCES.index(other.source)
        return theirs < ours or (theirs == ours and other.known_at_ms >= self.known_at_ms)


def in_force(standings: Iterable[VerdictInForce]) -> VerdictInForce | None:
    """The verdict in force after these, in the order of the log."""
    current: VerdictInForce | None = None
    for standing in standings:
        if current is None or current.gives_way_to(standing):
            current = standing
    return current


def counted_verdict(verdict: str, reason: str | None, friendly: Collection[str]) -> str:
    """Counted verdict: fraud for a reason that the project calls friendly is no fraud of a stranger.

    >>> counted_verdict("fraud", "friendly", {"friendly"}), counted_verdict("fraud", None, {"friendly"})
    ('genuine', 'fraud')
    """
    return "genuine" if verdict == "fraud" and reason in friendly else verdict


LogEvent = Event | LabelEvent
