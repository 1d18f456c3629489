"""Lists and look-up tables of a project as they were at a moment of its log."""

from __future__ import annotations

from shroff.engine.stored import telling_damage
from shroff.json_types import TextDict
from shroff.log.history import Control
from shroff.log.later_labels import last_before
from shroff.project.definitions import Definitions, is_list, load_definitions
from shroff.project.look_ups import reference_as_of
from shroff.project.parse_cache import ReadOnce
from shroff.project.table_files import is_table
from shroff.runtime.values import replace
from shroff.streams.log import LogReader

_READ = ReadOnce()  # parts of versions already parsed; each request parses only what differs


def with_past_look_ups(
    log: LogReader, definitions: Definitions, as_of_ms: int | None, upto: int | None = None
) -> Definitions:
    """Return the project with the lists and tables that were active at a moment, up to a sequence number.

    A change counts if it was made by the moment, or if an event up to the moment follows it. Without a moment all
    changes up to the sequence number count. Cost: reads control events; loads a version if lists or tables changed
    since.
    """
    last = log.last_seq() if upto is None else upto
    if as_of_ms is None and last >= log.last_seq():
        return definitions
    seen = last if as_of_ms is None else min(last, last_before(log, as_of_ms + 1))
    control = Control()
    then = None
    for record in log.controls():
        is_later = record.seq > last or (record.seq > seen and as_of_ms is not None and record.time_ms > as_of_ms)
        if is_later and then is None:
            then = dict(control.files)
        control.take(record)
    if not then or _look_ups(then) == _look_ups(control.files):
        return definitions
    with telling_damage():
        return replace(
            definitions, reference=reference_as_of(definitions, load_definitions(then, read=_READ).or_raise())
        )


def _look_ups(files: TextDict) -> TextDict:
    return {name: text for name, text in files.items() if is_list(name) or is_table(name)}
