"""Check of `doctor` that the rows of the log are unchanged since they were written."""

from __future__ import annotations

from random import Random
from time import monotonic

from shroff.engine.receipts import receipt_of
from shroff.errors import StateError
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, LogReader

WITHIN_S = 1.0  # for the database's own check, and as long again for rows: a look is made each minute
_BLOCK = 1_024  # places that are read at once


class RowsRead(FrozenStruct):
    """How many places were read of how many; `damage` says what is wrong, in words, where something is."""

    read: int
    of: int
    damage: str = ""


def read_rows(log: Log, seed: int, within_s: float = WITHIN_S) -> RowsRead:
    """The database's own check, then rows with their sums and receipts: the newest, and others by lot.

    Places that moved to the lake have its hashes. A small log is read as a whole.
    """
    pruned, last = log.pruned_to(), log.last_seq()
    words = log.damage(within_s)
    if words:
        return RowsRead(0, last - pruned, f"{log.place} is damaged: {' '.join(words.split())}")
    blocks = list(range(pruned, last, _BLOCK))[::-1]
    newest, rest = blocks[:1], blocks[1:]
    Random(seed).shuffle(rest)  # noqa: S311 - of what is looked at
    end_s, read = monotonic() + within_s, 0
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


def _check(log: LogReader, after: int, upto: int) -> None:
    """Read what stands at places. Raises: StorageError where it is not what was written."""
    bodies = {label.seq: label.body for rows in log.read(after, upto) for label in rows if label.decided}
    for decisions in log.decisions_after(after, upto):
        for row in decisions:
            if receipt_of(row, bodies[row.seq]) != row.receipt:
                raise StateError(
                    f"{log.place}: the receipt of the decision at sequence number {row.seq:,} does not match"
                )
    for name in (log.flags_after, log.hits_after):
        for _ in name(after, upto):
            pass
