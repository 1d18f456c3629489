"""Check the first lines of files before any line is ingested, for problems of a whole file or of one row.

`ingest` stops at a problem; `check --with` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple, NoReturn

import numpy as np
from msgspec import Struct

from shroff.events.event import Event, time_text
from shroff.events.intake import Submission
from shroff.events.validation import latest_ms
from shroff.language.values import show_duration
from shroff.log.columns.lines import RUN, InRuns, in_runs
from shroff.log.writer import LogEnd
from shroff.project.definitions import Definitions
from shroff.project.unreadable_keys import key_reader

PROBED_LINES = 10_000
LATE_SHARE_MAX = 0.01
_UNSORTED_MIN = 2  # lines before the line above them
_UNSORTED_SHARE = 0.1  # of the lines; live sources overtake in fewer
LATE_SHARE_SURE = 0.1  # for a file of a source, which a few late lines do not stop
SECONDS = range(10**8, 10**11)  # as seconds since 1970: years 1973 to 5138; as milliseconds: 1970 to 1973


_DECIMAL = re.compile(r"found \D{0,12}(\d{9,11})(\.\d+)?'?$")


class Obstacle(NamedTuple):
    """Why a file should not be ingested as it is, and what to do. `is_order`: the order of its lines is the reason.

    `so` is the consequence as a clause of a message, `taken` the one of ingesting the file all the same.
    """

    words: str
    cure: str
    is_order: bool = True
    so: str = ", so they would be refused as too late"
    taken: str = ", and are quarantined as too late"


class FirstLook(Struct, eq=False):
    """Checks the first lines of files that are read one after the other.

    Args:
        late_min: Fewer late lines than this stop a file only if they are more than a tenth of its first lines.
    """

    _end: LogEnd
    late_min: int = 1
    is_alone: bool = True
    _newest_ms: int | None = None
    _seen: set[tuple[str, str]] = set()

    def at(self, first: Sequence[Submission], source: str) -> list[Obstacle]:
        """Return the problems of a file by its first lines. Lines that were refused for another reason do not count."""
        end = self._end
        settings = self._end.definitions.settings
        until_ms = latest_ms(settings, end.now_ms)
        events = [
            submission.event
            for submission in first
            if submission.event is not None and submission.event.time_ms <= until_ms
        ]
        obstacles = [*self._in_seconds(first, source), *self._in_future(first, until_ms, source)]
        backwards = self._backwards(events, source)
        lines = f"of the first {len(first):,} lines are more than {show_duration(settings.lateness_ms)}"
        behind = end.unknown(_late(events, self._newest_ms, settings.lateness_ms, self._seen.copy()))
        if backwards is not None:
            obstacles.append(backwards)
        elif self._is_disorder(behind, len(first)):
            alone = self.is_alone
            line = "a line before them" if alone else "a line before them in these files"
            cure = f"Add --order time to sort {'the file' if alone else 'the files'} first."
            if end.definitions.events.has_arrivals:
                cure = "They arrived so late by `arrived` in events.yaml: allow more lateness in shroff.yaml."
            obstacles.append(Obstacle(f"{source}: {behind:,} {lines} behind {line}", cure))
        before = behind
        behind = end.unknown(_late(events, end.watermark_ms, settings.lateness_ms, self._seen))
        if behind > before and self._is_disorder(behind, len(first)):
            cure = "Ingest older files before newer ones, or allow more lateness in shroff.yaml."
            newest = f"the newest event of the log{end.holder and f', {end.holder}'}"
            obstacles.append(
                Obstacle(f"{source}: {behind:,} {lines} behind {newest}", WATERMARK_CURE if end.holder else cure)
            )
        times = [event.time_ms for event in events]
        self._newest_ms = max(times if self._newest_ms is None else [self._newest_ms, *times], default=None)
        return obstacles

    def _backwards(self, events: Sequence[Event], source: str) -> Obstacle | None:
        if not runs_backwards([event.time_ms for event in events], self.late_min) or not self._end.unknown(events):
            return None
        so = ", so features would see each event without those that happened before it"
        type_ = self._end.definitions.events.types[events[0].type]
        if any(mapping.is_descending for mapping in type_.mappings.values()):
            message = f"{source}: the oldest line stands first, and `order: descending` reads a file from its last line"
            return Obstacle(message, f"Remove it from {type_.name}.from in events.yaml.", so=so, taken=so)
        cure = (
            f"Write `order: descending` under {type_.name}.from.csv, json, parquet or avro in events.yaml, or add "
            "--order time."
        )
        return Obstacle(f"{source}: the newest line stands first", cure, so=so, taken=so)

    def _in_future(self, first: Sequence[Submission], until_ms: int, source: str) -> Iterator[Obstacle]:
        ahead = [item.event.time_ms for item in first if item.event is not None and item.event.time_ms > until_ms]
        if 2 * len(ahead) > len(first):
            message = f"{source}: {len(ahead):,} of the first {len(first):,} lines lie in the future, such as"
            cure = "Write `ahead: off` in shroff.yaml if they are simulated; otherwise correct their times."
            so = ", so they would be refused as too early"
            yield Obstacle(f"{message} {time_text(ahead[0])}", cure, so=so, taken=", and are quarantined as too early")

    def _is_disorder(self, late: int, lines: int) -> bool:
        return late > LATE_SHARE_MAX * lines and (late >= self.late_min or late > LATE_SHARE_SURE * lines)

    def _in_seconds(self, first: Sequence[Submission], source: str) -> Iterator[Obstacle]:
        """Detect times in seconds, which would be read as milliseconds, or refused for decimals."""
        types = self._end.definitions.events.types
        numbers = []
        for item in first:
            if item.type in types:
                type_ = types[item.type]
                numbers.append((type_, _seconds(item, type_.time_field)))
        numbers = [(type_, number) for type_, number in numbers if number]
        if 2 * len(numbers) <= len(first):
            return
        type_, number = numbers[0]
        field = type_.time_field
        column = f"row.{type_.time_field}"
        so = (
            f"these events would be dated {time_text(int(number))[:4]}"
            if number.isdigit()
            else "these lines would be refused"
        )
        if any(number.partition(".")[2].strip("0") for _, number in numbers):
            column = f"part({column}, '.', 1)"
        yield Obstacle(
            f"{source}: {field} has numbers such as {number}. They count as milliseconds, so {so}",
            f"If they are seconds, add this under {type_.name}.from.csv, json or parquet in events.yaml: "
            f'{field}: "time(text(integer({column}) * 1000))"',
            is_order=False,
            so="",
        )


def _seconds(submission: Submission, field: str) -> str:
    if submission.event is not None:
        number = str(submission.event.time_ms)
        return number if submission.event.time_ms in SECONDS and number.encode() in submission.raw() else ""
    matches = (_DECIMAL.search(words) for path, words in submission.mistakes if path == field)
    return next((match[1] + (match[2] or ".0") for match in matches if match and int(match[1]) in SECONDS), "")


WATERMARK_CURE = "It lies beyond the clock: 'shroff watermark' sets the watermark back."


def runs_backwards(times: Sequence[int], steps_min: int = 2) -> bool:
    """Return whether a file begins with its newest line: at most one in 20 steps between different times goes forward.

    Args:
        steps_min: Minimum number of backward steps, at least two.
    """
    steps = np.diff(np.array(times, np.int64))
    back, ahead = np.count_nonzero(steps < 0), np.count_nonzero(steps > 0)
    return bool(back >= max(steps_min, 2) and 20 * ahead <= back)


def order_remarks(first: Sequence[Submission], source: str, definitions: Definitions) -> list[str]:
    """Return a sentence if the first lines of a file are in no order of time; else an empty list."""
    steps = np.diff(np.array([item.event.time_ms for item in first if item.event is not None], np.int64))
    back = np.count_nonzero(steps < 0)
    if back < _UNSORTED_MIN or back <= _UNSORTED_SHARE * len(steps) or definitions.events.has_arrivals:
        return []
    message = f"{back:,} of the first {len(first):,} lines happened before the line above them"
    return [f"{source}: {message}. If they did not arrive in this order, add --order time to sort them."]


def lookup_remarks(first: Sequence[Submission], source: str, definitions: Definitions) -> list[str]:
    """Return sentences about texts in the first lines of a file that look-ups cannot read."""
    read = key_reader(definitions)
    if read is None:
        return []
    names = {name: type_.field_names for name, type_ in definitions.events.types.items()}
    events = (item.event for item in first if item.event is not None)
    values = ((event.type, dict(zip(names[event.type], event.values, strict=True))) for event in events)
    return [f"{source}: of the first {len(first):,} lines, {words}." for words in read(values)]


def looked_into(lines: Iterable[Submission]) -> tuple[list[Submission], InRuns[Submission]]:
    """Return the first lines of a file, and all of its lines; an error among the first is raised at its position."""
    runs = in_runs(lines).runs
    first_runs = list[Sequence[Submission]]()
    try:
        for run in islice(runs, -(-PROBED_LINES // RUN)):
            first_runs.append(run)
    except Exception as error:  # noqa: BLE001 (it is raised, later)
        runs = _raised(error)
    return list(islice(chain.from_iterable(first_runs), PROBED_LINES)), InRuns(chain(first_runs, runs))


def _raised(error: Exception) -> Iterator[NoReturn]:
    yield from ()
    raise error


def _late(
    events: Iterable[Event], watermark_ms: int | None, lateness_ms: int, seen_ids: set[tuple[str, str]]
) -> list[Event]:
    """Return the events that are too late after a watermark or earlier events.

    Events in `seen_ids` are skipped; all that are not late are added to it.
    """
    late: list[Event] = []
    for event in events:
        key = event.type, event.id
        if key in seen_ids:
            continue
        if watermark_ms is not None and watermark_ms - event.time_ms > lateness_ms:
            late.append(event)
        else:
            seen_ids.add(key)
        watermark_ms = event.time_ms if watermark_ms is None else max(watermark_ms, event.time_ms)
    return late
