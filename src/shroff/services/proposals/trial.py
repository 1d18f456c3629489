"""Trial of a proposed project: the whole file with its labels, in memory, as a first `ingest` would read it."""

from __future__ import annotations

import re
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import tee
from math import inf
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, TypeVar

from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.formats.lines import Line, Lines
from shroff.events.formats.sorting import in_order_of_arrival, is_descending
from shroff.events.intake import undated
from shroff.events.mapping import LABEL, Mapper
from shroff.events.validation import latest_ms
from shroff.language.types import ORIGINAL_PLACES, places_of
from shroff.language.values import rescale_half_even, show, show_decimal
from shroff.log.columns.csv_columns import cell_form
from shroff.log.columns.file_runs import submissions_in_runs
from shroff.log.implausible_times import refuse_implausible
from shroff.services.ingest.event_ingest import only_type
from shroff.worker.file_disorder import PROBED_LINES, lookup_remarks, order_remarks

if TYPE_CHECKING:
    from shroff.events.event import Event
    from shroff.events.intake import Submission
    from shroff.events.validation import LabelInput
    from shroff.services.project import Project

One = TypeVar("One")
EXAMPLES = 3
_ALL_LINES_S = 3.0  # of processor, after which the speed so far decides whether all lines are taken
_EXAMPLE_LINES = 2_000
_EXAMPLE_LENGTH = 40  # characters
_STEP = 512  # lines between two looks at the clock
_READ_AT_MOST = 4  # times the seconds of a trial; a file that unpacks to more is left there
_NAMED = re.compile(r"(?:^|; )([a-z_][a-z0-9_]*): ")  # fields in the words of a refusal
_VALUES = re.compile(r"""'[^']*'|"[^"]*"|\S*\d\S*""")  # in the words of a refusal


@dataclass(eq=False)
class Trial:
    """What became of the lines of a file. Times are UTC milliseconds, amounts units of the project's currency.

    `late_ms` is how far each late line lies behind the newest one before it, `by_field` how many lines were refused
    for a field, and `reasons` how often each reason was given, by its words without values; `first` has one of each.
    """

    lines: int = 0  # of the file, read
    tried: int = 0  # of these; fewer if the time was not enough for all
    items: int = 0  # lines that were tried, or with `each` the items in them
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
    first_times_ms: list[int] = field(default_factory=list)  # of the file's first lines, late or not
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
    def probed(self) -> int:
        return min(self.items, PROBED_LINES)

    @property
    def is_whole(self) -> bool:
        return self.tried == self.lines and not self.is_cut


def try_project(
    project: Project,
    file: Path,
    amount: str,
    limit_s: float,
    *,
    is_quick: bool = False,
    is_later: bool = False,
    line_count: float = inf,
) -> Trial:
    """Take the lines of a file, with their labels, within some seconds of processor.

    CSV is read as columns, whole, if each value of an event is a cell. Another file is taken whole if its lines fit
    into the seconds by the speed so far; else fewer and fewer lines are taken, to its end.

    Args:
        amount: The field of the event's amount; empty if it has none.
        is_quick: Whether lines are read one by one, and a file that takes longer is left after these seconds.
        is_later: Whether each label is known after its event, so that only its verdict can be wrong.
    """
    trial = Trial()
    try:
        _take(trial, project, file, amount, _Clock(limit_s, is_quick, line_count), is_later=is_later)
    except UsageError as error:
        trial.stop = str(error)
    trial.refused = sum(trial.reasons.values())
    return trial


def _take(trial: Trial, project: Project, file: Path, amount: str, clock: _Clock, *, is_later: bool) -> None:
    definitions = project.definitions
    settings = definitions.settings
    now_ms = project.context.now_ms()
    until_ms = latest_ms(settings, now_ms)
    contents: dict[int, int] = {}  # of taken events by id; both as hashes, which takes 100 MB for a million lines
    newest_ms: int | None = None
    first_lines: list[Submission] = []
    labels: dict[str, LabelInput] = {}
    amount_of = {name: _amount_reader(project, name, amount) for name in definitions.events.types}
    submissions = _submissions(trial, project, file, clock, labels, is_later=is_later)
    for submission in refuse_implausible(submissions, definitions, now_ms):
        event = submission.event
        label = labels.pop(submission.place, None)
        trial.items += 1
        if event is None:
            if submission.refusal:
                trial.refuse(submission.refusal)
            else:
                trial.skipped += 1
            continue
        if trial.items <= PROBED_LINES:
            trial.first_times_ms.append(event.time_ms)
            first_lines.append(submission)
        key = hash((event.type, event.id))
        content = hash(event.values)
        known = contents.get(key)
        if known == content:
            trial.duplicates += 1
            _note_label(trial, label, event.time_ms)
            continue
        if known is not None:
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
            trial.late_at_first += trial.items <= PROBED_LINES
            trial.refuse("too late: the time lies too far before that of an earlier line")
            continue
        newest_ms = trial.to_ms = max(newest_ms or event.time_ms, event.time_ms)
        trial.taken += 1
        contents[key] = content
        trial.from_ms = min(trial.from_ms or event.time_ms, event.time_ms)
        _note_label(trial, label, event.time_ms)
        value = amount_of[event.type](event)
        if value is not None:
            trial.amounts.append(value)
        if trial.taken <= _EXAMPLE_LINES:
            _note_examples(trial, project, submission, event)
    trial.order_remarks = order_remarks(first_lines, file.name, definitions)
    trial.lookup_remarks = lookup_remarks(first_lines, file.name, definitions)


def _submissions(
    trial: Trial, project: Project, file: Path, clock: _Clock, labels: dict[str, LabelInput], *, is_later: bool
) -> Iterator[Submission]:
    intake = project.taking.intake(keeps_hashes=False)
    events = project.definitions.events
    type_name = only_type(project.definitions)
    label = events.label
    name = file.name

    def read(chosen: Iterator[Line], as_type: str | None) -> Iterator[Submission]:
        same = Lines(lines.format, lines.columns, chosen, separator=lines.separator)
        same.records = lines.records
        same.again = lines.again
        return intake.submissions(same, name, as_type, is_default=as_type not in {None, LABEL})

    with read_lines(file) as lines, read_lines(file) as again:
        for opened in (lines, again):
            intake.lay_out(opened, name, type_name)
        is_plain = lines.records is not None and lines.records.is_plain and not clock.is_quick
        is_plain = is_plain and not is_descending(events, lines.format, type_name)
        type_ = intake.plain_type(lines, name, type_name) if is_plain else None
        if type_ is not None and cell_form(lines, type_) is not None:
            submissions = clock.choose(submissions_in_runs(intake, lines, name, type_name), trial, takes_all=True)
            if label.mappings:
                paths = Mapper(label, lines.format).paths("verdict") if is_later else ()
                columns = [str(path[0]) for path in paths]
                submissions = _noting(trial, labels, _with_verdicts(submissions, again, columns, read))
            yield from submissions
            return
        chosen, twice = tee(clock.choose(lines, trial))
        submissions = read(chosen, type_name)
        if label.mappings:
            submissions = _noting(trial, labels, zip(submissions, read(twice, LABEL), strict=True))
        else:
            del twice  # which would keep all lines
        yield from in_order_of_arrival(submissions, events, lines.format, type_name)


def _with_verdicts(
    events: Iterator[Submission],
    lines: Iterator[Line],
    columns: Sequence[str],
    read: Callable[[Iterator[Line], str], Iterator[Submission]],
) -> Iterator[tuple[Submission, Submission]]:
    """Return each event with its label; labels with the same text in the `columns` of the verdict are read once."""
    known: dict[tuple[object, ...], Submission] = {}
    unread = deque[Line]()
    one_by_one = read(iter(unread.popleft, None), LABEL)
    for submission, line in zip(events, lines, strict=False):
        texts: tuple[object, ...] = ()
        if line.columns is not None and submission.event is not None:
            texts = tuple(map(line.columns.get, columns))
        verdict = known.get(texts)
        if verdict is None:
            unread.append(line)
            verdict = next(one_by_one)
            if texts:
                verdict = known[texts] = undated(verdict)
        yield submission, verdict


def _noting(
    trial: Trial, labels: dict[str, LabelInput], labeled: Iterable[tuple[Submission, Submission]]
) -> Iterator[Submission]:
    for submission, verdict in labeled:
        if verdict.label is not None:
            labels[submission.place] = verdict.label
        else:
            trial.labels_refused += bool(verdict.refusal)
            trial.first.setdefault("label", verdict.refusal or "")
        yield submission


@dataclass
class _Clock:
    """Seconds of processor for a trial; a file that takes longer is left at once if it is quick."""

    limit_s: float
    is_quick: bool
    line_count: float  # of the file; inf if unknown

    def choose(self, lines: Iterable[One], trial: Trial, *, takes_all: bool = False) -> Iterator[One]:
        """Yield lines as time allows: all, then every second, every fourth and so on; `is_cut` is set if a file is
        left.
        """
        now = process_time()
        looked = now, 0
        due = now + min(_ALL_LINES_S, self.limit_s / 2)
        end = now + self.limit_s
        last = now + (1 if self.is_quick else _READ_AT_MOST) * self.limit_s
        distance = 1
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
            if takes_all:
                continue
            if now > due and now < end and distance < _STEP:
                since, passed = looked
                rest_s = (self.line_count - number) * (now - since) / (number - passed)
                distance *= 1 + (rest_s > end - now)
                due = now + (end - now) / 3
                looked = now, number
            elif now > end and distance < _STEP:
                distance = _STEP


def _note_label(trial: Trial, label: LabelInput | None, event_ms: int) -> None:
    if label is None:
        return
    if label.known_at_ms < event_ms and label.dated(event_ms).known_at_ms < event_ms:
        trial.labels_refused += 1
        trial.known_before += 1
    else:
        trial.labels += 1
        trial.frauds += label.verdict == "fraud"


def _amount_reader(project: Project, type_name: str, amount: str) -> Callable[[Event], float | None]:
    type_ = project.definitions.events.types[type_name]
    if amount not in type_.field_names:
        return lambda event: None
    index = type_.field_names.index(amount)
    unit = 10 ** type_.fields[index].type.places
    sent = next((each for each in project.definitions.conversion.fields(type_name) if each.amount == index), None)
    currency = project.definitions.settings.currency

    def read(event: Event) -> float | None:
        value = event.values[index]
        if sent is not None:
            is_own = event.values[sent.currency] == currency
            value = event.values[sent.original] if is_own else None
        return value / unit if isinstance(value, int | float) and not isinstance(value, bool) else None

    if sent is not None:
        unit = 10**ORIGINAL_PLACES
    return read


def _note_examples(trial: Trial, project: Project, submission: Submission, event: Event) -> None:
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
            text = f"…{text.rpartition(':')[2]}" if declared.shape.is_hashed else text
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
    return f"{moment.day} {moment:%B %Y, %H:%M:%S}{part} UTC"
