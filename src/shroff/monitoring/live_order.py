"""How far a live source may deliver messages out of order, how far the log is, and which windows are that short."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json

from shroff.errors import Problem
from shroff.json_types import TextDict
from shroff.language.expression import aggregates
from shroff.language.values import show_duration
from shroff.project.definitions import Definitions, computed_of
from shroff.project.settings.installed import settings_of
from shroff.project.settings.system import System
from shroff.project.unreadable_keys import key_reader
from shroff.runtime.texts import many, percent
from shroff.streams.log import LogReader

if TYPE_CHECKING:
    from shroff.monitoring.doctor import Finding

LOOKED_AT = 10_000  # newest records that are checked
SHARE = 0.99  # quantile of disorder that is reported
SHOWN = 3
PAGE = "docs/explain/partitions.md"


def bound_ms(source: System | None) -> int:
    """Return by how much a live message may overtake those of other partitions; 0 without such overtaking."""
    return 0 if source is None else settings_of("source", source.kind).overtakes_ms


def short_windows(definitions: Definitions, upto_ms: int) -> TextDict:
    """Return features with a window of at most this length over an entity other than the message key, with that entity.

    The message key is the first entity of each event type, as for `shroff produce`.
    """
    # Entities that are not the first one of some event type.
    others = {
        name
        for type_ in definitions.events.types
        for name in [name for name, entity in definitions.events.entities.items() if type_ in entity.keys][1:]
    }
    return {
        declared.name: aggregate.entity
        for declared in computed_of(definitions)
        for aggregate in aggregates(declared.node)
        if aggregate.over_ms is not None and aggregate.over_ms <= upto_ms and aggregate.entity in others
    }


def remarks(definitions: Definitions, source: System | None) -> list[str]:
    most_ms = bound_ms(source)
    if source is None or not most_ms:
        return []
    return [
        f"{name} has a window of {show_duration(most_ms)} or less over {entity}, which is not the key of partitions: "
        f"while messages come live, an event may be decided up to {show_duration(most_ms)} before an earlier one of "
        f"another partition ({PAGE})"
        for name, entity in short_windows(definitions, most_ms).items()
    ]


def warnings_of(definitions: Definitions, source: System | None) -> list[Problem]:
    return [Problem("shroff.yaml", 0, 0, "source", f"{words}.") for words in remarks(definitions, source)]


def look_at_keys(log: LogReader, definitions: Definitions) -> Iterator[Finding]:
    """Report texts in the newest events that look-ups cannot read."""
    from shroff.monitoring.doctor import NOTE, OK, Finding

    read = key_reader(definitions)
    if read is None:
        return
    records = chain.from_iterable(log.read(max(log.last_seq() - LOOKED_AT, log.pruned_to(), 0)))
    found = read((record.type, from_json(record.body)) for record in records if record.kind == "event")
    if not found:
        yield Finding("look-ups", OK, f"they can read the values of the last {LOOKED_AT:,} records")
    for message in found:
        cure = "Correct the mapping in events.yaml, or look up the field that has the value."
        yield Finding("look-ups", NOTE, f"of the last {LOOKED_AT:,} records, {message}", cure)


def look_at_order(log: LogReader, definitions: Definitions, source: System | None) -> Iterator[Finding]:
    """Report how far the newest events of the log are out of order, and which windows are that short."""
    from shroff.monitoring.doctor import NOTE, OK, Finding

    if source is None:
        return
    newest_ms = None
    behind_ms = list[int]()
    for record in chain.from_iterable(log.read(max(log.last_seq() - LOOKED_AT, log.pruned_to(), 0))):
        if record.kind == "event":
            newest_ms = max(record.time_ms, newest_ms or record.time_ms)
            behind_ms.append(newest_ms - record.time_ms)
    if not behind_ms:
        return
    behind_ms.sort()
    count = sum(late_ms > 0 for late_ms in behind_ms)
    if not count:
        yield Finding("order", OK, f"the last {many(len(behind_ms), 'event is', 'events are')} in order of time")
        return
    most_ms = behind_ms[int(SHARE * (len(behind_ms) - 1))]
    message = (
        f"of the last {many(len(behind_ms), 'event')} {count:,} came behind a newer one, "
        f"by {show_duration(behind_ms[-1])} at most, and {percent(SHARE)} by {show_duration(most_ms)} at most"
    )
    features = short_windows(definitions, max(most_ms, bound_ms(source)))
    if not features:
        yield Finding("order", OK, message)
        return
    names = ", ".join(sorted(features)[:SHOWN]) + (
        f" and {len(features) - SHOWN} more" if len(features) > SHOWN else ""
    )
    cure = f"'wait: 200ms' in the source makes a message wait for earlier ones of other partitions; see {PAGE}."
    yield Finding("order", NOTE, f"{message}; windows over other keys than the partitions' are as short: {names}", cure)
