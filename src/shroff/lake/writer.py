"""Writes a lake: follows the log, from the position in the lake's own manifests.

So nothing about a lake is stored in the log or beside it, and there may be several, started at any time. A commit is
determined by its plan (see `streams.lake_manifest`): another writer, or the next after a crash, has the same result.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import ClassVar

import msgspec

from shroff.errors import StateError
from shroff.json_types import JsonMapping
from shroff.lake.compaction import Compaction, compacted, forgettable, groups_of, sweep
from shroff.lake.documents import documents
from shroff.lake.files import put_table
from shroff.lake.rows import SeqRange, VersionsBySeq, read_span, tables_of
from shroff.operations.declaration import OperationAnswer
from shroff.replay.compare import segments
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.progress import Progress, unheard
from shroff.runtime.texts import bytes_text, many
from shroff.runtime.values import replace
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import (
    Compact,
    File,
    LakeState,
    Layout,
    Manifest,
    Write,
    finish,
    keep_checkpoint,
    plan,
    read_state,
)
from shroff.streams.log import Log, LogReader, Record

PLACES_MAX = 1 << 15  # sequence numbers of a commit: some 150 MB with forty features, as rows and as columns
UNDER_WAY = 4  # objects that are written in parallel
STEPS = "planned|file|document|before finish|finished|checkpoint|done".split("|")


class LakeReport(OperationAnswer):
    """The rows and files written.

    Args:
        upto: The last sequence number that the lake has now.
        commits: Number of commits that this writer has finished, including those that others had planned.
        rows: Number of rows of each kind.
        documents: Number of documents in each folder.
    """

    lake: str = ""
    upto: int = 0
    commits: int = 0
    files: int = 0
    bytes: int = 0
    rows: Counter[str] = msgspec.field(default_factory=Counter)
    documents: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: float = 0.0
    NEXT: ClassVar = ("shroff lake files", "shroff lake compact")

    def text(self) -> str:
        text = f"{self.lake}: the log up to sequence number {self.upto:,}."
        if self.files:
            rows = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.rows.items()))
            text += f"\n  {many(self.files, 'file')} of {bytes_text(self.bytes)}: {rows}."
        if self.documents:
            documents = ", ".join(f"{count:,} in {folder}/" for folder, count in sorted(self.documents.items()))
            text += f"\n  documents: {documents}."
        return text if self.commits else f"{text} There was nothing to write."

    def brief(self) -> JsonMapping:
        return {"upto": self.upto, "files": self.files, "bytes": self.bytes}


def publish_nothing(_state: LakeState) -> None:
    """Publish nothing: readers use the manifests."""


class LakeWriter:
    """Writes a lake from its log.

    Several writers may work at once, which wastes work and harms nothing.

    Args:
        objects: The object store of the lake.
        log: The log that it follows, read only.
        now_ms: The clock; only the removal of replaced files depends on it.
        on_step: Called with each of `STEPS` after it was done; for crash tests.
        places_max: Largest number of sequence numbers in one commit.
        publish: Called with the state after each commit, and before replaced files are removed (see `delta`).
    """

    def __init__(
        self,
        objects: RetriedObjects,
        log: Log,
        now_ms: Callable[[], int],
        *,
        on_step: Callable[[str], None] = unheard,
        places_max: int = PLACES_MAX,
        publish: Callable[[LakeState], None] = publish_nothing,
    ) -> None:
        self.objects = objects
        self._log = log
        self._now_ms = now_ms
        self._publish = publish
        self._on_step = on_step
        self._places_max = places_max
        self._known: LakeState | None = None
        self._versions: tuple[int, VersionsBySeq] = (-1, VersionsBySeq([]))

    def state(self) -> LakeState:
        self._known = read_state(self.objects, self._known)
        return self._known

    def write(self, layout: Layout | None = None, progress: Progress | None = None) -> LakeReport:
        """Write the records that the lake lacks, up to the log's current last sequence number.

        Raises: StateError if the lake is of another log, or has records that this log lost; StorageError if records
            that it lacks are in another lake that cannot be reached.
        """
        started = time.monotonic()
        report = LakeReport()
        end = self._log.last_seq()
        state = self.state()
        self._check_log(state, state.log, end)
        if state.planned is None:  # a plan that cannot be carried out would make an empty location look like a lake
            next(self._log.decisions.after(state.upto, state.upto + 1), None)
        self._publish(state)
        with calm_collector():
            while state.planned is not None or state.upto < end:
                upto_before = state.upto
                next_plan = Write(
                    upto_before, max(upto_before, min(upto_before + self._places_max, end)), layout or Layout()
                )
                state = self._commit(state, next_plan, report)
                if progress is not None:
                    progress(state.upto - upto_before)
        report.upto = state.upto
        report.seconds = time.monotonic() - started
        self._on_step("done")
        return report

    def compact(self, *, files_min: int, target_bytes: int, grace_ms: int) -> Compaction:
        """Merge small files, and remove files that no reader needs any more (see `lake.compaction`)."""
        result = Compaction()
        report = LakeReport()
        damaged = frozenset[str]()
        state = self.state()
        self._publish(state)
        while True:
            groups = groups_of(state, files_min, target_bytes, damaged)
            forget = forgettable(state, self._now_ms() - grace_ms)
            if state.planned is None and not groups and not forget:
                break
            state_before = state
            state = self._commit(state, Compact(groups, forget), report, result)
            damaged |= {path for path in result.damaged if path in state_before.files}
        result.removed = sweep(self.objects, state)
        self._on_step("done")
        return result

    def check_log(self, state: LakeState) -> None:
        """Raise StateError if the lake is of another log, or this log has lost records of it."""
        self._check_log(state, state.log, state.upto)

    # ---- one commit

    def _commit(
        self, state: LakeState, request: Write | Compact, report: LakeReport, more: Compaction | None = None
    ) -> LakeState:
        """Carry out the plan in the lake, else `request`; return the state after it."""
        planned = state.planned
        if planned is None:
            log = state.log or _mark(self._log, 1)
            manifest = Manifest(number=state.number + 1, at_ms=self._now_ms(), plan=request, log=log)
            planned = plan(self.objects, manifest)
            if planned is None:  # another writer was faster
                return self.state()
        manifest, version = planned
        self._on_step("planned")
        if isinstance(manifest.plan, Write):
            finished = self._write_tables(state, manifest, manifest.plan, report)
        else:
            finished = compacted(self.objects, state, manifest, more or Compaction(), lambda: self._on_step("file"))
        self._on_step("before finish")
        is_ours = finish(self.objects, replace(finished, state="finished"), version)
        self._on_step("finished")
        report.commits += 1
        after = state.after(finished) if is_ours else self.state()
        self._known = keep_checkpoint(self.objects, after)
        self._on_step("checkpoint")
        self._publish(self._known)
        return self._known

    def _write_tables(self, state: LakeState, manifest: Manifest, request: Write, report: LakeReport) -> Manifest:
        self._check_log(state, manifest.log, request.upto)
        span = read_span(self._log, request.after, request.upto)
        files: list[Future[File]] = []
        counts: Counter[str] = Counter()
        with ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="lake") as pool:
            for folder, table in self._tables(span) if request.layout.parquet else ():
                files.append(pool.submit(self._put, manifest.number, folder, table))
            put: list[Future[None]] = []
            for name, kind in sorted(request.layout.documents.items()):
                for path, data, count in documents(span, name, kind):
                    put.append(pool.submit(self._put_document, path, data))
                    counts[name] += count
            added = [future.result() for future in files]
            for upload in put:
                upload.result()
        for file in added:
            report.rows[file.kind] += file.rows
            report.bytes += file.bytes
        report.files += len(added)
        report.documents += counts
        return replace(
            manifest, tip=_mark(self._log, request.upto), added=added, documents=dict(sorted(counts.items()))
        )

    def _tables(self, span: SeqRange) -> Iterator[tuple[str, object]]:
        if self._versions[0] < span.upto:
            self._versions = self._log.last_seq(), VersionsBySeq(segments(self._log))
        return tables_of(span, self._versions[1])

    def _put(self, number: int, folder: str, table: object) -> File:
        file = put_table(self.objects, number, folder, table)
        self._on_step("file")
        return file

    def _put_document(self, path: str, data: bytes) -> None:
        if not self.objects.put(path, data):
            raise StateError(
                f"{path} in {self.objects.address} exists with other content. A folder of documents belongs to one "
                f"log: find out what wrote it, and move it away"
            )
        self._on_step("document")

    def _check_log(self, state: LakeState, log_id: str, upto: int) -> None:
        """Raise StateError if the lake is of another log, or the log has lost records."""
        end = self._log.last_seq()
        needed = max(state.upto, upto)
        if end < needed:
            raise StateError(
                f"{self.objects.address} has the log up to sequence number {needed:,}, or plans to, but the log ends "
                f"at {end:,}: "
                f"it was truncated, or is another log. {_OTHER_LAKE}"
            )
        is_other = bool(log_id) and _mark(self._log, 1) != log_id
        is_there = state.upto > self._log.pruned_to()
        if is_other or (is_there and _mark(self._log, state.upto) != state.tip):
            raise StateError(f"{self.objects.address} was written from another log. {_OTHER_LAKE}")


_OTHER_LAKE = "Write this log into an empty location, or restore the log of this lake"


def _mark(log: LogReader, seq: int) -> str:
    """Return a hash of a record. The first record, which is never pruned, contains the time of the log's creation."""
    records = log.controls(seq - 1, seq) or [record for batch in log.read(seq - 1, seq) for record in batch]
    return mark_of(records)


def mark_of(records: list[Record]) -> str:
    """Return the hash of the only record in this list."""
    return sha256(msgspec.msgpack.encode(records)).hexdigest()[:32]
