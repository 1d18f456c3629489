"""Lateness: the watermark of a log, why an event is too late, and the control event that sets the watermark back.

`log.batch_classifier` refuses a late event, or stores it beside the log. One event dated far in the future makes all
later ones too late. The setting `ahead` keeps such events out; in a log that has one, a control event sets the
watermark back, and from its sequence number on lateness is judged from the time that it names. The future event
stays. Old events are then in time again, so an engine that reads such a log keeps more history (see
`features.online.engine.Lateness`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec
import numpy as np
from msgspec.json import encode as to_json

from shroff.config import PROJECT_FILE
from shroff.engine.stored import stored
from shroff.events.event import Event, time_text
from shroff.features.online.engine import Lateness
from shroff.json_types import TextDict
from shroff.language.values import DAY_MS, parse_time, show_duration
from shroff.language.yaml import text as yamltext
from shroff.log.history import Control
from shroff.project.definitions import Definitions
from shroff.project.settings.loader import load_settings
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, LogReader, Record

_MARK = b'"watermark":{'
_RANGES_MAX = 64


class WatermarkReset(FrozenStruct):
    """A watermark set back: to `at`, from `was`, for a reason.

    `beyond` are ranges of times of all events after `at`.
    """

    at: str
    was: str
    beyond: list[tuple[int, int]]
    because: str

    @property
    def at_ms(self) -> int:
        return parse_time(self.at)


class _ResetBody(msgspec.Struct):
    watermark: WatermarkReset


class Holder(FrozenStruct):
    """The event that holds the watermark beyond a time: the newest of all, such as `payment/p-1`.

    `before_ms` is the newest time of an event that is not beyond, `beyond` are the times of those that are, as ranges.
    """

    event: str
    seq: int
    time_ms: int
    before_ms: int | None
    beyond: list[tuple[int, int]]

    @property
    def words(self) -> str:
        return f"{self.event} of {time_text(self.time_ms)}"


def watermark_reset_of(record: Record) -> WatermarkReset | None:
    """Return the watermark that a control event sets; None if it activates a version."""
    if _MARK not in record.body:
        return None
    return stored(record.body, _ResetBody, f"the control event at sequence number {record.seq}").watermark


def reset_record(reset: WatermarkReset, versions: TextDict, seq: int, now_ms: int) -> Record:
    """Return the control event that sets the watermark; it changes no file."""
    body = {"files": {}, "removed": [], "versions": versions, "watermark": reset}
    return Record(seq, "control", "control", str(seq), now_ms, to_json(body, order="sorted"), decided=False)


def lateness_after_resets(usual_ms: int, controls: Iterable[Record]) -> Lateness:
    """Return how late events of a log with these control events may be, given the usual lateness."""
    resets = [reset for reset in map(watermark_reset_of, controls) if reset is not None]
    ranges = tuple(sorted({(low, high) for reset in resets for low, high in reset.beyond}))
    if not ranges:
        return Lateness(usual_ms)
    return Lateness(usual_ms, max(high for _, high in ranges) - min(span.at_ms for span in resets), ranges)


@lru_cache(maxsize=64)  # a replay calls it for each version of the log
def written_lateness_ms(text: str) -> int:
    return load_settings(yamltext.read(text, PROJECT_FILE, []), []).lateness_ms


class LatenessStretch(FrozenStruct):
    """Sequence numbers (after, upto] of a log under one lateness.

    Its events are at most `late_ms` behind the watermark, and later events at most `later_ms` behind an event of it.
    `beyond` are ranges of times of earlier events that its watermark ignores.
    """

    after: int
    upto: int
    late_ms: int
    later_ms: int
    beyond: tuple[tuple[int, int], ...] = ()


def stretches_of(log: LogReader) -> list[LatenessStretch]:
    """Return the stretches of a log, newest first. Cost: some µs for each control event."""
    control = Control()
    starts = list[tuple[int, int, int, tuple[tuple[int, int], ...]]]()
    beyond: tuple[tuple[int, int], ...] = ()
    for record in log.controls():
        control.take(record, PROJECT_FILE)
        late_ms = written_lateness_ms(control.files.get(PROJECT_FILE, ""))
        back = watermark_reset_of(record)
        leap_ms = 0
        if back is not None:
            leap_ms = parse_time(back.was) - back.at_ms
            beyond = (*beyond, *back.beyond)
        if leap_ms or not starts or late_ms != starts[-1][1]:
            starts.append((record.seq, late_ms, leap_ms, beyond))
    stretches = list[LatenessStretch]()
    upto = log.last_seq()
    later_ms = 0
    for after, late_ms, leap_ms, beyond in reversed(starts):
        later_ms = max(late_ms, later_ms)
        stretches.append(LatenessStretch(after, upto, late_ms, later_ms, beyond))
        upto = after
        later_ms = later_ms + leap_ms
    return stretches


def watermark_holder(log: Log | LogReader, definitions: Definitions, time_ms: int) -> Holder | None:
    """Return the event that holds the watermark of a log beyond a time; None if all events are earlier.

    Cost: a pass over the log by columns.
    """
    from shroff.log.columns.stored import ids_of, log_columns

    newest: tuple[int, int, str] | None = None
    before_ms = None
    beyond = list[np.ndarray[tuple[int], np.dtype[np.int64]]]()
    for piece in log_columns(log, definitions, is_apart=True):
        for name, frame in piece.frames.items():
            if name == "label" or not len(frame):
                continue
            is_beyond = frame.times > time_ms
            if not is_beyond.all():
                before_ms = max(int(frame.times[~is_beyond].max()), before_ms if before_ms is not None else -(1 << 62))
            if is_beyond.any():
                beyond.append(np.unique(frame.times[is_beyond]))
                row = int(frame.times.argmax())
                if newest is None or int(frame.times[row]) > newest[0]:
                    seq = piece.after + int(frame.rows[row]) + 1
                    newest = int(frame.times[row]), seq, f"{name}/{ids_of(frame)[row].as_py()}"
    if newest is None:
        return None
    # Sorted times as ranges: times less than a day apart share a range; all of them if there would be too many ranges.
    times = np.unique(np.concatenate(beyond))
    cuts = np.flatnonzero(np.diff(times) > DAY_MS) + 1
    parts = [times] if len(cuts) >= _RANGES_MAX else np.split(times, cuts)
    return Holder(newest[2], newest[1], newest[0], before_ms, [(int(part[0]), int(part[-1])) for part in parts])


def too_late(event: Event, watermark_ms: int, definitions: Definitions, holder: str | None) -> str:
    """Return why an event is too late. `holder` describes the event that holds the watermark beyond the clock."""
    field_name = definitions.events.types[event.type].time_field
    behind = show_duration(watermark_ms - event.time_ms)
    allowed = show_duration(definitions.settings.lateness_ms)
    return (
        f"{field_name}: too late: {time_text(event.time_ms)} is {behind} behind the newest event, "
        f"and lateness in shroff.yaml allows {allowed}"
    ) + (f". That event, {holder}, lies beyond the clock: 'shroff watermark' sets it back" if holder else "")


def watermark_problem(watermark_ms: int, found: Holder | None) -> tuple[str, str]:
    """Return the problem of a watermark beyond the clock, and the remedy."""
    holder = "" if found is None else f", held by {found.words} (sequence number {found.seq:,})"
    problem = (
        f"the watermark is {time_text(watermark_ms)}, beyond the clock{holder}: events older than that are too late"
    )
    to = "TIME" if found is None or found.before_ms is None else time_text(found.before_ms)
    back = f"'shroff watermark --set {to} --because TEXT'"
    remedy = f"If that time is wrong, run {back}, then 'shroff quarantine retry'"
    return problem, f"{remedy}. If the data is synthetic, set 'ahead: off'."
