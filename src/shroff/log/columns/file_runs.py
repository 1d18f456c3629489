"""Reads files of JSON lines and CSV in runs of one event type; all other files line by line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np

from shroff.events.definitions import EventType
from shroff.events.formats.encodings import line_columns
from shroff.events.formats.lines import Line, Lines, place_of
from shroff.events.formats.sorting import in_order_of_arrival, is_descending
from shroff.events.intake import Intake, Submission, source_name
from shroff.log.columns.csv_columns import cell_form, nothing_of
from shroff.log.columns.lines import RUN, EventRun, InRuns, LineForms, LineOrigin, in_runs, run_of
from shroff.log.columns.read_lines import SLACK, ReadLines, Texts
from shroff.runtime.progress import Progress, batched

RUN_BYTES = 32 << 20  # approximate size limit of a run with long lines
COLUMNS_MIN = 1_024  # fewer lines are read one by one, so that a small file waits for no compiler
_BLANK = b" \t\r\n"
One = TypeVar("One")


def submissions_in_runs(intake: Intake, lines: Lines, source: str, as_type: str | None = None) -> Iterator[Submission]:
    """Like `Intake.submissions`, but lines of JSON or CSV come in runs if they have one type or name their types."""
    pending: deque[Line] = deque()

    def careful(line: Line) -> Submission:
        pending.append(line)
        return next(by_one)

    is_reversed = is_descending(intake.events, lines.format, as_type)
    is_plain = (lines.physical is not None or lines.records is not None) and not is_reversed
    type_ = intake.plain_type(lines, source, as_type) if is_plain else None
    types = intake.named_types(lines, source, as_type) if type_ is None and is_plain and lines.physical else []
    if type_ is None and not types:
        submissions = in_order_of_arrival(
            intake.submissions(lines, source, as_type), intake.events, lines.format, as_type
        )
        return in_runs(submissions, lines.rows_at_once) if lines.rows_at_once < RUN else submissions
    each = Lines(lines.format, lines.columns, iter(pending.popleft, None), separator=lines.separator)
    by_one = intake.submissions(each, source, as_type)
    if lines.records is not None:
        assert type_ is not None
        return InRuns(_CsvRuns(source, type_, careful, lines).runs())
    assert lines.physical is not None
    runs = _JsonRuns(source, type_, careful) if type_ is not None else _NamedRuns(source, types, careful)
    return InRuns(runs.runs(lines.physical))


def counted_in_runs(submissions: Iterable[Submission], progress: Progress | None) -> Iterator[Submission]:
    """Yield the same submissions, reporting how many were used."""
    return InRuns(batched(in_runs(submissions).runs, progress))


class _Runs:
    """Reads lines in runs; if reading fails, yields the lines before, then raises the error."""

    def __init__(self, source: str, type_: EventType, careful: Callable[[Line], Submission], header: str = "") -> None:
        self._source = source_name(source)
        self._type = type_
        self._careful = careful
        self._header = header
        self._forms = LineForms()

    def _run(
        self,
        raws: Sequence[bytes],
        first: int,
        lines: Sequence[int],
        line: Callable[[int], Line],
        texts: Texts | None = None,
    ) -> Sequence[Submission]:
        """Return the submissions of lines; `first` is the number of the first, `line` returns an odd line."""

        def careful(at: int) -> Submission:
            return self._careful(line(at))

        run = None
        if len(raws) >= COLUMNS_MIN:
            origin = LineOrigin(self._source, len(raws), partial(_place, first, lines), self._header)
            run = self._read(raws, careful, origin, texts)
        return [careful(at) for at in range(len(raws))] if run is None else run

    def _read(
        self, raws: Sequence[bytes], careful: Callable[[int], Submission], origin: LineOrigin, texts: Texts | None
    ) -> EventRun | None:
        return self._forms.run(self._type, raws, careful, [origin], texts=texts)


class _JsonRuns(_Runs):
    """Runs of a JSON file; blank lines are skipped."""

    def runs(self, physical: Iterator[bytes]) -> Iterator[Sequence[Submission]]:
        following = 1
        number = 1
        failure = None
        while failure is None:
            raws, failure = _until_error(_of_run(physical))
            if not raws:
                break
            at: Sequence[int] = range(following, following + len(raws))
            following += len(raws)
            if any(map(bytes.isspace, raws)):
                at = [line for line, raw in zip(at, raws, strict=True) if not raw.isspace()]
                raws = [raw for raw in raws if not raw.isspace()]
            yield self._run(raws, number, at, partial(_json_line, raws, number, at))
            number += len(raws)
        if failure is not None:
            raise failure


class _NamedRuns(_JsonRuns):
    """Runs of a JSON file whose lines name their types: columns of each type."""

    def __init__(self, source: str, types: Sequence[EventType], careful: Callable[[Line], Submission]) -> None:
        super().__init__(source, types[0], careful)
        self._types = {b'{"%s"' % type_.name.encode(): type_ for type_ in types}
        self._has_taken = False

    def _read(
        self, raws: Sequence[bytes], careful: Callable[[int], Submission], origin: LineOrigin, texts: Texts | None
    ) -> EventRun | None:
        parts = [raw.partition(b":") for raw in raws]
        heads = {head for head, _, _ in parts} & self._types.keys()
        if not heads:
            return None
        if not self._has_taken:  # tells the intake that this source has lines of a type
            self._has_taken = bool(careful(next(at for at, (head, _, _) in enumerate(parts) if head in heads)).type)

        def read(head: bytes) -> ReadLines | None:
            objects = [rest.strip(_BLANK) if name == head else b"" for name, _, rest in parts]
            inner = [text[:-1] if text.endswith(b"}}") else b"" for text in objects]
            texts = np.frombuffer(b"".join(inner) + SLACK, np.uint8), np.fromiter(map(len, inner), np.int64).cumsum()
            return self._forms.read(self._types[head], raws, texts=texts)

        reads = [found for head in self._types if head in heads and (found := read(head)) is not None]
        return run_of(reads, careful, [origin]) if reads else None


class _CsvRuns(_Runs):
    """Runs of a CSV file.

    Lines that are one record each are read as columns. If a line has quotes that csv.reader must interpret, or is not
    UTF-8, csv.reader reads all lines of the run.
    """

    def __init__(self, source: str, type_: EventType, careful: Callable[[Line], Submission], lines: Lines) -> None:
        assert lines.records is not None
        super().__init__(source, type_, careful, lines.records.header.text)
        self._records = lines.records
        self._form = cell_form(lines, type_)

    def runs(self) -> Iterator[Sequence[Submission]]:
        records = self._records
        form = self._form
        failure = None
        while failure is None:
            raws, failure = _until_error(_of_run(records.lines()))
            if not raws:
                break
            plain = None
            if form is not None and records.is_plain and len(raws) >= COLUMNS_MIN and records.are_utf8(raws):
                plain = form.lines_of(raws)
            if plain is not None:
                yield self._of_lines(raws, *plain)
                continue
            records.give_back(raws, failure)
            lines_read, failed = _until_error(self._while_given_back())
            failure = failed or failure
            if lines_read:
                raw_records = [line.raw for line in lines_read]
                lines = [line.line for line in lines_read]
                yield self._run(
                    raw_records, lines_read[0].number, lines, lines_read.__getitem__, nothing_of(len(lines_read))
                )
        if failure is not None:
            raise failure

    def _of_lines(self, raws: Sequence[bytes], texts: Texts, rows: Sequence[int]) -> Sequence[Submission]:
        """Return the submissions of lines; the given rows are records, the others are blank."""
        records = self._records
        first = records.number + 1
        begin = records.following
        lines: Sequence[int] = range(begin, begin + len(raws))
        raw_records: Sequence[bytes] = raws
        if len(rows) < len(raws):
            lines = [lines[row] for row in rows]
            raw_records = [raws[row] for row in rows]

        def line(at: int) -> Line:
            records.number = first + at - 1
            records.following = lines[at]
            records.give_back([raw_records[at]])
            return next(records)

        submissions = self._run(raw_records, first, lines, line, texts)
        records.number = first + len(raw_records) - 1
        records.following = begin + len(raws)
        return submissions

    def _while_given_back(self) -> Iterator[Line]:
        while self._records.is_given_back and (line := next(self._records, None)) is not None:
            yield line


def _until_error(items: Iterable[One]) -> tuple[list[One], Exception | None]:
    read: list[One] = []
    try:
        for item in items:
            read.append(item)  # noqa: PERF402 (items before an error are kept)
    except Exception as error:  # noqa: BLE001 (raised later)
        return read, error
    return read, None


def _of_run(lines: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for raw in islice(lines, RUN):
        yield raw
        size += len(raw)
        if size >= RUN_BYTES:
            return


def _json_line(raws: Sequence[bytes], first: int, lines: Sequence[int], at: int) -> Line:
    return Line(first + at, raws[at], None, None, line_columns, lines[at])


def _place(first: int, at: Sequence[int], row: int) -> str:
    return place_of(first + row, at[row])
