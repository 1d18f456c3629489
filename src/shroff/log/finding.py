"""Finding the decision that somebody means by `payment/p-1`, or by `p-1` alone."""

from __future__ import annotations

from collections.abc import Mapping

from shroff.errors import UsageError
from shroff.events.definitions import Events
from shroff.log.history import types_of
from shroff.streams.log import DecisionRow, Log


def find(log: Log, events: Events, reference: str) -> DecisionRow:
    """The decision of `payment/p-1`, or of `p-1` while one type is decided.

    Types are those of the project and those that the log has from earlier versions of it.

    Raises: UsageError where there is none.
    """
    named = _named(events, reference, types_of(log))
    for name, id_ in named:
        row = log.decisions(name, [id_]).get(id_)
        if row is not None:
            return row
    for name, id_ in named:
        if log.find(name, [id_]):
            raise UsageError(f"{name} {id_!r} is in the log and was not decided.")
    name, id_ = named[0]
    raise UsageError(f"there is no {name} {id_!r} in the log. 'shroff export decisions' lists what there is.")


def _named(events: Events, reference: str, past: Mapping[str, bool]) -> list[tuple[str, str]]:
    """The type and id that are meant; several where a bare id may be of a type that was decided once."""
    before, sign, after = reference.partition("/")
    if sign and (before in events.types or before in past):
        return [(before, after)]
    once = [name for name, was_decided in past.items() if was_decided and name not in events.decided]
    decided = [*events.decided, *once]
    if len(events.decided) > 1 or not decided:
        such = f", such as {decided[0]}/{reference}" if decided else ""
        what = "several types are decided" if decided else "no type is decided"
        raise UsageError(f"{reference!r}: {what}; write TYPE/ID{such}.")
    return [(name, reference) for name in decided]
