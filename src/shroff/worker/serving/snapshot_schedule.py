"""Snapshot schedule: saves the state of a worker by time or number of records, in parallel, and at its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct, field

from shroff.errors import StorageError
from shroff.json_types import TextDict
from shroff.log.state.snapshots import EVERY
from shroff.log.writer import SnapshotWriter, Writer
from shroff.runtime.progress import Tell
from shroff.runtime.retries import Backoff
from shroff.streams.source import Trimming
from shroff.worker.serving.counts import WorkerCounts, WorkerOptions

AGAIN_S = 60.0  # after a failed snapshot


class SnapshotSchedule(Struct, eq=False):
    """Snapshots of the active writer. A failed snapshot is reported and harms nothing else."""

    _writer: Writer
    _source: object
    _work: WorkerCounts
    _options: WorkerOptions
    _tell: Tell
    # Running snapshot, with the source's offsets at its start.
    _under_way: tuple[SnapshotWriter, TextDict] | None = None
    _begun_s: float = field(default_factory=time.monotonic)
    _retry: Backoff = field(default_factory=lambda: Backoff(AGAIN_S))

    def attend(self, now_s: float, drain: Callable[[], None], *, is_searching: bool) -> None:
        """Start a snapshot if one is due, and finish one that was written.

        Args:
            drain: Commits every decided batch.
            is_searching: Whether a poison message is searched for; each failure then restores the state from a
                snapshot.
        """
        if self._under_way is not None:
            if self._under_way[0].is_over:
                self._note()
        elif is_searching and self._writer.unsaved > EVERY:
            drain()
            self.end()
        elif self._is_due(now_s):
            drain()
            self._begin()

    def end(self) -> None:
        """Save state if more than `EVERY` records are unsaved, so that the next start is fast.

        Call it with no batch open.
        """
        if self._under_way is not None:
            self._note()
        if self._writer.unsaved <= EVERY:
            return
        try:
            saved = self._writer.snapshot()
        except StorageError as error:
            self._tell(f"{error}.")
        else:
            self._saved(saved.seq, self._work.offsets)

    def _is_due(self, now_s: float) -> bool:
        unsaved = self._writer.unsaved
        options = self._options
        is_long_ago = now_s - self._begun_s >= options.snapshot_s
        return self._retry.is_due and (unsaved >= options.snapshot_places or (unsaved > 0 and is_long_ago))

    def _begin(self) -> None:
        self._begun_s = time.monotonic()
        try:
            self._under_way = self._writer.snapshot_beside(), dict(self._work.offsets)
        except StorageError as error:
            self._fail(error)

    def _fail(self, error: StorageError) -> None:
        self._retry.failed()
        self._tell(f"{error}.")

    def _note(self) -> None:
        assert self._under_way is not None
        (saving, offsets) = self._under_way
        self._under_way = None
        if saving.is_given_up:  # another snapshot replaced it, or another version became active
            return
        try:
            saved = saving.result()
        except StorageError as error:
            self._fail(error)
        else:
            self._saved(saved.seq, offsets)

    def _saved(self, seq: int, offsets: TextDict) -> None:
        self._writer.saved(seq)
        self._work.snapshots += 1
        if isinstance(self._source, Trimming):
            self._source.trim(offsets)
