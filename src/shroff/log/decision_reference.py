"""Finds the decision that a person means by `payment/p-1`, or by `p-1` alone."""

from __future__ import annotations

from collections.abc import Mapping

from shroff.errors import UsageError
from shroff.events.definitions import Events
from shroff.log.history import types_of
from shroff.streams.log import DecisionRow, LogReader


def find(log: LogReader, events: Events, reference: str) -> DecisionRow:
    """Return the decision of `payment/p-1`, or of `p-1` if only one type is decided.

    Types of earlier versions in the log count as well. Raises: UsageError if there is no such decision.
    """
    type_, _, named_id = reference.partition("/")
    if named_id and type_ in events.types:
        row = log.decisions.of(type_, [named_id]).get(named_id)
        if row is not None:
            return row  # the usual case; types of earlier versions are not needed
    candidates = _named(events, reference, types_of(log))
    for name, id_ in candidates:
        row = log.decisions.of(name, [id_]).get(id_)
        if row is not None:
            return row
    for name, id_ in candidates:
        if log.find(name, [id_]):
            raise UsageError(f"{name} {id_!r} is in the log and was not decided.")
    name, id_ = candidates[0]
    raise UsageError(f"there is no {name} {id_!r} in the log. 'shroff export decisions' lists what there is.")


def _named(events: Events, reference: str, past: Mapping[str, bool]) -> list[tuple[str, str]]:
    """Return the types and ids that may be meant, most likely first; a bare id may be of a type decided earlier."""
    before, sign, after = reference.partition("/")
    once = [name for name, was_decided in past.items() if was_decided and name not in events.decided]
    decided = [*events.decided, *once]
    if sign and (before in events.types or before in past):
        whole = [(name, reference) for name in decided] if len(events.decided) == 1 else []
        return [(before, after), *whole]  # an id may itself start with the name of a type
    if len(events.decided) > 1 or not decided:
        such = f", such as {decided[0]}/{reference}" if decided else ""
        problem = "several types are decided" if decided else "no type is decided"
        raise UsageError(f"{reference!r}: {problem}; write TYPE/ID{such}.")
    return [(name, reference) for name in decided]
