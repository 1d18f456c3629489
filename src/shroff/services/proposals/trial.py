"""Trial of a proposed project: the whole file with its labels, in memory, as a first `ingest` would read it."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Line, Lines
from shroff.events.formats.sorting import in_order_of_arrival
from shroff.events.mapping import LABEL
from shroff.events.validation import latest_ms
from shroff.language.types import ORIGINAL_PLACES, places_of
from shroff.language.values import rescale_half_even, show, show_decimal
from shroff.log.implausible_times import refuse_implausible
from shroff.worker.file_disorder import PROBED_LINES, lookup_remarks, order_remarks

if TYPE_CHECKING:
    from shroff.events.event import Event
    from shroff.events.intake import Submission
    from shroff.services.project import Project

EXAMPLES = 3
_ALL_LINES_S = 3.0  # of processor, for which all lines are taken; then every second, every fourth and so on
_EXAMPLE_LINES = 2_000
_EXAMPLE_LENGTH = 40  # characters
_REFUSED = -1
_Choose = Callable[[Lines], Iterator[Line]]
_STEP = 512  # lines between two looks at the clock
_READ_AT_MOST = 4  # times the seconds of a trial; a file that unpacks to more is left there
_NAMED = re.compile(r"(?:^|; )([a-z_][a-z0-9_]*): ")  # fields in the words of a refusal
_VALUES = re.compile(r"""'[^']*'|"[^"]*"|\S*\d\S*""")  # in the words of a refusal
_MONTHS = "January February March April May June July August September October November December".split()


@dataclass(eq=False)
class Trial:
    """What became of the lines of a file. Times are UTC milliseconds, amounts units of the project's currency.

    `late_ms` is how far each late line lies behind the newest one before it, `by_field` how many lines were refused
    for a field, and `reasons` how often each reason was given, by its words without values; `first` has one of each.
    """

    lines: int = 0  # of the file, read
    tried: int = 0  # of these; fewer if the time was not enough for all
    taken: int = 0
    refused: int = 0
    duplicates: int = 0
    late_at_first: int = 0  # among the lines at which `ingest` looks before it begins
    skipped: int = 0  # that no event type takes
    ahead: int = 0
    labels: int = 0
    labels_refused: int = 0
    known_before: int = 0  # of these, before their event
    frauds: int = 0
    same_id: int = 0  # with other content
    from_ms: int | None = None
    to_ms: int | None = None
    amounts: array[float] = field(default_factory=lambda: array("d"))
    late_ms: list[int] = field(default_factory=list)
    by_field: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    turns: list[tuple[int, int]] = field(default_factory=list)  # from which line on every how many lines one was tried
    first_times_ms: list[int] = field(default_factory=list)  # of the file's first lines, late or not
    times_ms: array[int] = field(default_factory=lambda: array("q"))  # of each line that was tried; -1 if not taken
    is_cut: bool = False  # the rest of the file was not read
    order_remarks: list[str] = field(default_factory=list)  # as `ingest` makes them on the first lines
    lookup_remarks: list[str] = field(default_factory=list)
    stop: str = ""  # why `ingest` would refuse the file as a whole

    def refuse(self, reason: str) -> None:
        kind = _VALUES.sub("", reason)
        self.reasons[kind] += 1
        self.first.setdefault(kind, reason)
        self.by_field.update(set(_NAMED.findall(reason)))

    @property
    def items(self) -> int:
        """Lines that were tried, or with `each` the items in them."""
        return len(self.times_ms)

    @property
    def probed(self) -> int:
        return min(self.items, PROBED_LINES)

    @property
    def is_whole(self) -> bool:
        return self.tried == self.lines and not self.is_cut


def try_project(project: Project, file: Path, amount: str, limit_s: float) -> Trial:
    """Take the lines of a file, and their labels, within some seconds of processor.

    Half of the time is for the labels. If it is not enough for all lines, fewer and fewer are taken, to the file's end.

    Args:
        amount: The field of the event's amount; empty if it has none.
    """
    trial = Trial()
    try:
        _take_events(trial, project, file, amount, limit_s)
        if project.definitions.events.label.mappings:
            _take_labels(trial, project, file)
    except UsageError as error:
        trial.stop = str(error)
    trial.refused = sum(trial.reasons.values())
    return trial


def _take_events(trial: Trial, project: Project, file: Path, amount: str, limit_s: float) -> None:
    definitions = project.definitions
    settings = definitions.settings
    now_ms = project.context.now_ms()
    until_ms = latest_ms(settings, now_ms)
    contents: dict[int, int] = {}  # by id; both as hashes, which takes 100 MB for a million lines
    count = 0  # of ids
    newest_ms: int | None = None
    first_lines: list[Submission] = []
    submissions = _submissions(project, file, _only_type(project), _by_clock(trial, limit_s))
    for submission in refuse_implausible(submissions, definitions, now_ms):
        event = submission.event
        trial.times_ms.append(_REFUSED)
        if event is None:
            if submission.refusal:
                trial.refuse(submission.refusal)
            else:
                trial.skipped += 1
            continue
        if len(trial.times_ms) <= PROBED_LINES:
            trial.first_times_ms.append(event.time_ms)
            first_lines.append(submission)
        key = hash((event.type, event.id))
        content = hash(event.values)
        known = contents.setdefault(key, content)
        if known == content and len(contents) == count:
            trial.duplicates += 1
            trial.times_ms[-1] = event.time_ms
            continue
        count = len(contents)
        if known != content:
            trial.same_id += 1
            trial.refuse("another line has the same id and other values")
            continue
        if event.time_ms > until_ms:
            trial.ahead += 1
            trial.refuse("the time lies in the future")
            continue
        behind_ms = 0 if newest_ms is None else newest_ms - event.time_ms
        if behind_ms > settings.lateness_ms:
            trial.late_ms.append(behind_ms)
            trial.late_at_first += len(trial.times_ms) <= PROBED_LINES
            trial.refuse("too late: the time lies too far before that of an earlier line")
            continue
        newest_ms = trial.to_ms = max(newest_ms or event.time_ms, event.time_ms)
        trial.taken += 1
        trial.times_ms[-1] = event.time_ms
        trial.from_ms = min(trial.from_ms or event.time_ms, event.time_ms)
        _note_amount(trial, project, event, amount)
        if trial.taken <= _EXAMPLE_LINES:
            _note_examples(trial, project, submission, event)
    trial.order_remarks = order_remarks(first_lines, file.name, definitions)
    trial.lookup_remarks = lookup_remarks(first_lines, file.name, definitions)


def _only_type(project: Project) -> str | None:
    types = project.definitions.events.types
    (name, first), *others = types.items()
    has_when = any(mapping.when is not None for mapping in first.mappings.values())
    return None if others or has_when else name


def _submissions(project: Project, file: Path, type_name: str | None, choose: _Choose) -> Iterator[Submission]:
    intake = project.taking.intake(keeps_hashes=False)
    with read_lines(file) as lines:
        intake.lay_out(lines, file.name, type_name)
        chosen = Lines(lines.format, lines.columns, choose(lines), separator=lines.separator)
        chosen.records = lines.records
        chosen.again = lines.again
        is_default = type_name not in {None, LABEL}
        submissions = intake.submissions(chosen, file.name, type_name, is_default=is_default)
        yield from in_order_of_arrival(submissions, intake.events, lines.format, type_name)


def _by_clock(trial: Trial, limit_s: float) -> _Choose:
    """Lines by the time: all, then every second, every fourth and so on; a turn is noted in the trial.

    A file that is not read by then is left, and the trial says so.
    """

    def choose(lines: Lines) -> Iterator[Line]:
        due = process_time() + min(_ALL_LINES_S, limit_s / 4)
        end = process_time() + limit_s / 2
        last = process_time() + _READ_AT_MOST * limit_s
        distance = 1
        trial.turns.append((0, 1))
        for number, line in enumerate(lines):
            trial.lines += 1
            if not number % distance:
                trial.tried += 1
                yield line
            if number % _STEP:
                continue
            now = process_time()
            if now > last:
                trial.is_cut = True
                return
            if now > due and now < end and distance < _STEP:
                distance *= 2
                due = now + (end - now) / 3
                trial.turns.append((number + 1, distance))
            elif now > end and distance < _STEP:
                distance = _STEP
                trial.turns.append((number + 1, distance))

    return choose


def _take_labels(trial: Trial, project: Project, file: Path) -> None:
    """Take the labels of the lines whose events were taken."""
    turns = trial.turns

    def same_lines(lines: Lines) -> Iterator[Line]:
        remaining = iter(turns[1:])
        _, distance = turns[0]
        following = next(remaining, None)
        for number, line in enumerate(lines):
            if number >= trial.lines:
                return
            if following is not None and number >= following[0]:
                distance = following[1]
                following = next(remaining, None)
            if not number % distance:
                yield line

    submissions = _submissions(project, file, LABEL, same_lines)
    for event_ms, submission in zip(trial.times_ms, submissions, strict=False):
        label = submission.label
        if label is None:
            trial.labels_refused += bool(submission.refusal)
            trial.first.setdefault("label", submission.refusal or "")
        elif event_ms != _REFUSED and label.dated(event_ms).known_at_ms < event_ms:
            trial.labels_refused += 1
            trial.known_before += 1
        elif event_ms != _REFUSED:
            trial.labels += 1
            trial.frauds += label.verdict == "fraud"


def _note_amount(trial: Trial, project: Project, event: Event, amount: str) -> None:
    """Keep an amount in the project's currency."""
    type_ = project.definitions.events.types[event.type]
    if amount not in type_.field_names:
        return
    index = type_.field_names.index(amount)
    value = event.values[index]
    places = type_.fields[index].type.places
    for converted in project.definitions.conversion.fields(event.type):
        if converted.amount == index:
            is_own = event.values[converted.currency] == project.definitions.settings.currency
            value = event.values[converted.original] if is_own else None
            places = ORIGINAL_PLACES
    if isinstance(value, int | float) and not isinstance(value, bool):
        trial.amounts.append(value / 10**places)


def _note_examples(trial: Trial, project: Project, submission: Submission, event: Event) -> None:
    """Keep the first different values of each field as they are read."""
    settings = project.definitions.settings
    type_ = project.definitions.events.types[event.type]
    typed = {field.name: value for field, value in zip(type_.fields, event.values, strict=True)}
    for converted in project.definitions.conversion.fields(event.type):
        original = event.values[converted.original]
        if isinstance(original, int):
            code = str(event.values[converted.currency])
            places = places_of(code)
            shown = show_decimal(rescale_half_even(original, ORIGINAL_PLACES, places), places)
            _keep(trial, type_.fields[converted.amount].name, f"{shown} {code}")
    for declared in type_.fields:
        value = typed[declared.name]
        if value is None or declared.is_made or declared.shape.currency:
            continue
        if declared.type.kind == "time" and isinstance(value, int):
            text = time_in_words(value)
        elif declared.type.kind == "money":
            text = f"{show(value, declared.type, settings.money_places)} {settings.currency}"
        else:
            text = show(value, declared.type, settings.money_places)
        _keep(trial, declared.name, text)
    for name, text in submission.personal:
        _keep(trial, name, text)


def _keep(trial: Trial, name: str, text: str) -> None:
    kept = trial.examples.setdefault(name, [])
    text = text if len(text) <= _EXAMPLE_LENGTH else f"{text[:_EXAMPLE_LENGTH]}…"
    if len(kept) < EXAMPLES and text not in kept:
        kept.append(text)


def time_in_words(time_ms: int) -> str:
    """Write a time as people say it, with milliseconds only if they are not 0.

    >>> time_in_words(1_772_704_800_123), time_in_words(1_772_704_800_000)
    ('5 March 2026, 10:00:00.123 UTC', '5 March 2026, 10:00:00 UTC')
    """
    moment = datetime.fromtimestamp(time_ms // 1_000, UTC)
    rest_ms = time_ms % 1_000
    part = f".{rest_ms:03d}" if rest_ms else ""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M:%S}{part} UTC"
