"""Quarantined input brought to the door again, after the project was mended."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from shroff.decisions.answers import GROUP_MAX
from shroff.decisions.history import waiting_label
from shroff.decisions.writer import REFUSED, UNTAKEN, Answer, Writer
from shroff.errors import StorageError, UsageError
from shroff.events.encodings import format_by_name, read_stream
from shroff.events.intake import Intake, Submission, source_name
from shroff.events.kept import Seals, unmarked
from shroff.events.lines import Line, Lines, line_and_row
from shroff.streams.log import Log, Refused, Reply

WAITING_LABELS: Final = "waiting labels"  # the source of a label that waited and did not fit its event
Entry = tuple[int, Refused]


@dataclass(frozen=True, slots=True)
class Retried:
    """What became of one entry of quarantine. `reason` says why it stays."""

    number: int
    source: str
    place: str
    outcome: str
    reason: str = ""

    @property
    def stays(self) -> bool:
        return self.outcome == REFUSED


def retry(
    log: Log,
    writer: Writer,
    intake: Intake,
    numbers: Sequence[int],
    headers: Mapping[str, tuple[str, ...]],
    reply: Callable[[list[Retried]], list[Reply]] = lambda _found: [],
) -> list[Retried]:
    """Bring entries back in, all of them without numbers; what is taken leaves quarantine in the same batch.

    Args:
        reply: Gives what is replied to a request, to be committed with the last batch.

    Raises: UsageError for a number that is not there.
    """
    entries = chosen(log.refused_list(), numbers)
    pairs = list(submissions(entries, intake, headers))
    found: list[Retried] = []
    for at in range(0, max(len(pairs), 1), GROUP_MAX):
        part = pairs[at : at + GROUP_MAX]
        prepared = writer.prepare([one for _, one in part])
        tried = outcomes(dict(entries), [number for number, _ in part], prepared.answers)
        found += tried
        prepared.batch.dropped = [one.number for one in tried if not one.stays]
        if at + GROUP_MAX >= len(pairs):
            prepared.batch.replies = reply(found)
        writer.commit(prepared)
    return found


def chosen(entries: Sequence[Entry], numbers: Sequence[int]) -> list[Entry]:
    """The entries of these numbers, all without any. Raises: UsageError for a number that is not there."""
    if not numbers:
        return list(entries)
    found = dict(entries)
    lacking = [number for number in numbers if number not in found]
    if lacking:
        raise UsageError(
            f"there is no entry {', '.join(map(str, lacking))} in quarantine. 'shroff quarantine list' has them."
        )
    return [(number, found[number]) for number in sorted(set(numbers))]


def submissions(
    entries: Iterable[Entry], intake: Intake, headers: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[int, Submission]]:
    """The entries as they would come from their files, each under its number.

    Args:
        headers: The column names of CSV files, by their names; a quarantined line alone does not have them.
    """
    named = {source_name(name): columns for name, columns in headers.items()}
    for number, entry in entries:
        read = _read(entry, named, intake.money_places)
        if isinstance(read, str):
            yield number, _kept(entry, Submission(entry.source, entry.place, lambda: b"", entry.type, refusal=read))
        elif isinstance(read, Submission):
            yield number, _kept(entry, read)
        else:
            lines, seals = read
            for one in intake.submissions(lines, entry.source, entry.type or None, seals=seals):
                yield number, _kept(entry, one)


def outcomes(entries: Mapping[int, Refused], numbers: Iterable[int], answers: Iterable[Answer]) -> list[Retried]:
    """What became of each entry."""
    found = []
    for number, answer in zip(numbers, answers, strict=True):
        entry = entries[number]
        refused = answer.kind in {REFUSED, UNTAKEN}
        reason = answer.reason or ("no event type takes it" if refused else "")
        found.append(Retried(number, entry.source, entry.place, REFUSED if refused else answer.kind, reason))
    return found


def _kept(entry: Refused, one: Submission) -> Submission:
    """The same submission at the entry's own place and bytes, so that a second refusal is the same entry."""
    return msgspec.structs.replace(one, source=entry.source, place=entry.place, raw=lambda: entry.raw)


def _read(
    entry: Refused, headers: Mapping[str, tuple[str, ...]], money_places: int
) -> tuple[Lines, Seals] | Submission | str:
    """An entry as the only line of its file, as a label that waited, or why it cannot be read."""
    if entry.source == WAITING_LABELS:
        try:
            label = waiting_label(entry.raw, money_places)
            return Submission(entry.source, entry.place, lambda: b"", "label", label=label)
        except StorageError as error:
            return str(error)
    if entry.source not in headers and not _is_csv(entry):
        raw, seals = unmarked(entry.raw, "jsonl")
        format = "parquet" if format_by_name(entry.source) == "parquet" else "jsonl"
        return _only(entry, format, read_stream(io.BytesIO(raw), "jsonl")), seals
    if entry.source not in headers:
        return f"its columns are named in the first line of {entry.source}; add --file with that file"
    raw, seals = unmarked(entry.raw, "csv")
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(headers[entry.source])
    return _only(entry, "csv", read_stream(io.BytesIO(header.getvalue().encode() + raw), "csv")), seals


def _is_csv(entry: Refused) -> bool:
    """Whether an entry is a line of a CSV file; where its name does not say it, by its first character."""
    format = format_by_name(entry.source)
    return format == "csv" or (format is None and not entry.raw.lstrip().startswith(b"{"))


def _only(entry: Refused, format: str, lines: Lines) -> Lines:
    """The lines of an entry's bytes, numbered as in the file they came from."""

    def numbered() -> Iterator[Line]:
        for line in lines:
            line.number = line_and_row(entry.place)[1] or line.number
            yield line

    return Lines(format, lines.columns, numbered(), lines.close)
