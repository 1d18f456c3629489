"""Checks of `doctor` that the log and the stored tables are unchanged since they were written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic

from shroff.engine.receipts import receipt_of
from shroff.errors import StateError
from shroff.language.lookups.table import is_whole
from shroff.runtime import contents
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, LogReader

WITHIN_S = 1.0  # for the database's own check, and again for rows, since checks run each minute
_BLOCK = 1_024  # sequence numbers read at once
_TOGETHER = 500  # refused lines
INDEXED_MAX = 5_000_000  # records up to which each check reads the log's indexes: up to a second
REFUSED_MAX = 50_000  # of the newest refused lines: half a second
RESTORE_FILE = "Restore this file from the last backup, or put the file of the table with this SHA-256 there."
REMOVE_PACKED = "Delete it, then restart the service or worker: it is built again from the stored table."


class RowsRead(FrozenStruct):
    """Number of records that were read, and of all; `damage` is a message if some are damaged."""

    read: int
    of: int
    damage: str = ""


def read_rows(log: Log, seed: int, within_s: float = WITHIN_S) -> RowsRead:
    """Run the database's own check, then check rows with their sums and receipts: the newest, and a random sample.

    Records that moved to the lake are covered by its hashes. A small log is read completely.
    """
    pruned = log.pruned_to()
    last = log.last_seq()
    damage = log.damage(within_s)
    if damage:
        return RowsRead(0, last - pruned, f"{log.place} is damaged: {' '.join(damage.split())}")
    blocks = list(range(pruned, last, _BLOCK))[::-1]
    newest = blocks[:1]
    rest = blocks[1:]
    Random(seed).shuffle(rest)  # noqa: S311 - a sample, not a secret
    end_s = monotonic() + within_s
    read = 0
    for after in newest + rest:
        if read and monotonic() > end_s:
            break
        upto = min(after + _BLOCK, last)
        try:
            _check(log, after, upto)
        except StateError as error:
            return RowsRead(read, last - pruned, str(error))
        read += upto - after
    return RowsRead(read, last - pruned)


def log_damage(log: Log, seed: int) -> Iterator[str]:
    """Yield a message with the remedy for each damage of the log's indexes or refused lines.

    Cost: 0.15 µs an id and 10 µs a refused line. Of a long log the indexes are read in one minute of an hour.
    """
    is_turn = seed // 60_000 % 60 == 0
    if log.last_seq() <= INDEXED_MAX or is_turn:
        lost = log.ids_lost()
        if lost:
            yield lost
    numbers = log.quarantine.numbers()[-REFUSED_MAX:]
    for start in range(0, len(numbers), _TOGETHER):
        try:
            log.quarantine.entries(numbers[start : start + _TOGETHER])
        except StateError as error:
            yield str(error)
            return


def table_damage(store: Path, log: Log, seed: int) -> Iterator[tuple[str, str]]:
    """Yield damaged files of look-up tables, among their stored contents and packed forms, each with its remedy.

    Reads for about `WITHIN_S`, in an order drawn by `seed`, so that repeated calls reach each file.
    """
    stored = sorted(store.glob("[0-9a-f]" * 64))
    named = contents.named_in(record.body.decode("utf-8", "replace") for record in log.controls())
    for digest in sorted(named - {path.name for path in stored}):
        yield f"{store / digest} is missing, a table of an active or earlier version", RESTORE_FILE
    files = [*stored, *sorted((store / contents.PACKED).glob("*-*"))]
    Random(seed).shuffle(files)  # noqa: S311 - a sample, not a secret
    end_s = monotonic() + WITHIN_S
    for path in files:
        with suppress(FileNotFoundError):
            if path.parent == store and contents.is_damaged(path):
                yield f"{path} is damaged, a table of an active or earlier version", RESTORE_FILE
            elif path.parent != store and not is_whole(str(path)):
                yield f"{path} is damaged, the packed form of a table", REMOVE_PACKED
        if monotonic() > end_s:
            return


def _check(log: LogReader, after: int, upto: int) -> None:
    """Read a range of sequence numbers. Raises: StorageError if something differs from what was written."""
    bodies = {label.seq: label.body for rows in log.read(after, upto) for label in rows if label.decided}
    for decisions in log.decisions.after(after, upto):
        for row in decisions:
            if receipt_of(row, bodies[row.seq]) != row.receipt:
                raise StateError(
                    f"{log.place}: the receipt of the decision at sequence number {row.seq:,} does not match"
                )
    for name in (log.flags.after, log.hits.after):
        for _ in name(after, upto):
            pass
