"""Quarantine of an opened project: list, retry and drop rejected messages.

Messages enter it in `log.batch_classifier`, in the batch of the events around them.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import UsageError
from shroff.events.formats.encodings import format_by_name, read_lines
from shroff.events.formats.lines import CsvHeader
from shroff.events.mapping import LABEL
from shroff.events.raw_values import parsed
from shroff.events.readers import ID_LENGTH_MAX
from shroff.people.audit import Action
from shroff.services.parts import ProjectPart
from shroff.services.project_files import intake_of
from shroff.services.writer.requests import WriterRequests

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.streams.log import Log, LogReader, Record, Refused
    from shroff.worker.quarantine_retry import Retried

TOGETHER = 500  # entries per query of the log
SAME_MIN = 2
VALUES_MAX = 500  # values per input that are compared


def refused_parts(log: Log) -> Iterator[list[tuple[int, Refused]]]:
    """Yield all entries of a log in parts, oldest first: together they may exceed the memory."""
    numbers = log.quarantine.numbers()
    for at in range(0, len(numbers), TOGETHER):
        yield log.quarantine.entries(numbers[at : at + TOGETHER])


class QuarantineEntries(ProjectPart):
    """Quarantine: refused input."""

    _requests: WriterRequests

    def newest(self, most: int, before: int | None = None) -> list[tuple[int, Refused, str | None]]:
        """Return the newest entries before this number, each with the event that fixed it, if any."""
        if not self._log.exists():
            return []
        with self._log.reading() as log:
            numbers = [number for number in log.quarantine.numbers() if before is None or number < before]
            entries = log.quarantine.entries(numbers[-most:])
            fixed = self.fixed(log, entries)
        return [(number, entry, fixed.get(number)) for number, entry in reversed(entries)]

    def retry(self, numbers: Sequence[int], files: Sequence[Path] = ()) -> list[Retried]:
        """Retry quarantined entries, all of them without numbers; entries that are rejected again stay.

        `files` are those that CSV lines came from, or others with the same name and first line.

        Raises: UsageError if there is no log yet.
        """
        from shroff.worker.inbox import RETRY, retried_of, retry_request

        self._check(numbers)
        headers = {}
        for path in files:
            header = self._header(path)
            if header is not None:
                headers[path.name] = header
        action = Action("quarantine.retry", "quarantine", None, list(numbers) or "all")
        body = retry_request(numbers, headers, [] if self._context.asked_by else None)
        return retried_of(self._requests.ask(RETRY, body, action))

    def _check(self, numbers: Sequence[int]) -> None:
        """Raises: UsageError for an unknown entry, before anything is requested and audited."""
        from shroff.worker.quarantine_retry import known_numbers

        self._requests.needs_log("so nothing is in quarantine")
        for number in numbers:
            if type(number) is not int:
                raise UsageError(f"quarantine entries are named by number, and {number!r} is not a number of one.")
        with self._log.reading() as log:
            known_numbers(log, numbers)

    def _header(self, path: Path) -> CsvHeader | None:
        """Return the header of a file, None if it has none; a file name without a known format counts as CSV."""
        events = self._definitions.events
        mappings = [type_.mappings.get("csv") for type_ in (*events.types.values(), events.label)]
        layouts = {
            header.layout for header in mappings if header is not None and (header.layout.columns or header.layout.skip)
        }
        with read_lines(path, format_by_name(path.name) or "csv") as lines:
            if len(layouts) == 1:
                lines.lay_out(next(iter(layouts)))
            return lines.header

    def fixed(self, log: Log, entries: Sequence[tuple[int, Refused]]) -> dict[int, str]:
        """Map entries that were corrected and sent again to the accepted event, such as payment/p-1.

        That event has the entry's type and the id that the mapping reads in the rejected input, was accepted after it,
        and has at least two more of its values (file name and line alone are not enough: files change). A rejected
        label is fixed by a later label of the event that it names. Entries without a readable id are left out.
        """
        from shroff.worker.quarantine_retry import submissions

        fixed_by, intake = dict[int, str](), intake_of(self._context, keeps_hashes=False)
        for at in range(0, len(entries), TOGETHER):
            group = entries[at : at + TOGETHER]
            read = [
                (submission.type, submission.sent.id if submission.sent else submission.id)
                for submission in submissions(group, intake, {})
            ]
            for type_ in {type_ for type_, id_ in read if id_}:
                candidates = [(*row, id_) for row, (of, id_) in zip(group, read, strict=True) if of == type_ and id_]
                if type_ == LABEL:
                    records = _labels_since(
                        log, {id_ for *_, id_ in candidates}, min(entry.at_ms for _, entry, _ in candidates)
                    )
                else:
                    named = log.find(type_, sorted({id_ for *_, id_ in candidates}))
                    records = {id_: [record] for id_, record in named.items()}
                for number, entry, id_ in candidates:
                    if any(_is_sent_again(log, entry, record, id_) for record in records.get(id_, ())):
                        fixed_by[number] = id_ if type_ == LABEL else f"{type_}/{id_}"
        return fixed_by

    def drop(self, numbers: Sequence[int]) -> int:
        """Drop quarantined entries permanently, all of them without numbers; return their number.

        Raises: UsageError if there is no log yet.
        """
        from shroff.worker.inbox import DROP, drop_request

        self._check(numbers)
        body = drop_request(numbers)
        if not numbers:  # keep entries that arrive while the request waits
            with self._log.reading() as log:
                body = drop_request(log.quarantine.numbers(), is_all=True)
        action = Action("quarantine.drop", "quarantine", None, list(numbers) or "all")
        return int(from_json(self._requests.ask(DROP, body, action)))


def _labels_since(log: LogReader, events: Collection[str], at_ms: int) -> dict[str, list[Record]]:
    """Return labels ingested since this time, by event, such as payment/p-1.

    Cost: 3 µs for each label since then.
    """
    by_event: dict[str, list[Record]] = {}
    first = bisect_left(range(log.pruned_to(), log.last_seq()), at_ms, key=lambda seq: _ingested_ms(log, seq + 1))
    for record in chain.from_iterable(log.labels_after(log.pruned_to() + first)):
        if (event := record.id.rpartition("#")[0]) in events:
            by_event.setdefault(event, []).append(record)
    return by_event


def _ingested_ms(log: LogReader, seq: int) -> int:
    return max((at_ms or 0 for _, at_ms in log.ingested(seq - 1, seq)), default=0)


def _is_sent_again(log: LogReader, entry: Refused, record: Record, id_: str) -> bool:
    # Records and refusals of one batch have the same time, so an equal time may be a conflict with this very record.
    if _ingested_ms(log, record.seq) <= entry.at_ms:
        return False
    same_values = _texts(entry.raw) & {str(value) for value in from_json(record.body).values()}
    return len(same_values - {id_}) >= SAME_MIN


def _texts(raw: bytes) -> set[str]:
    """Return the first values of an input: of JSON, also nested ones, or the cells of a CSV line."""
    text = raw.decode("utf-8", "replace").strip()
    try:
        value = from_json(text)
    except (msgspec.DecodeError, RecursionError):
        try:
            cells = next(csv.reader([text], delimiter=";" if text.count(";") > text.count(",") else ","), [])
        except csv.Error:  # such as a carriage return in a cell, or a cell above 131,072 characters
            return set()
        texts = [cell.strip() for cell in cells if cell.strip()]
    else:
        texts = [str(scalar) for scalar in islice(_scalars(value), VALUES_MAX)] if isinstance(value, dict) else []
    return {text for text in texts[:VALUES_MAX] if len(text) <= ID_LENGTH_MAX and "\0" not in text}


def _scalars(value: object) -> Iterator[str | float]:
    """Yield the texts and numbers of a JSON value, also nested ones, and those of JSON objects in a text."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        inner = parsed(item) if isinstance(item, str) else None
        if isinstance(inner, dict):
            item = inner
        if isinstance(item, dict):
            waiting += reversed(item.values())
        elif isinstance(item, list):
            waiting += reversed(item)
        elif isinstance(item, str | float) or (isinstance(item, int) and item.bit_length() <= 64):
            yield item
