"""Retention: old events leave the store once the lake has them.

The slow steps, writing the lake and comparing it with the store, run in the calling process while another writes. The
writer removes few sequence numbers at a time, between two batches. Any step may be interrupted: all that was removed is
in the lake, byte for byte, and the next run continues from there (docs/decisions/0033).
"""

from __future__ import annotations

from contextlib import closing
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from msgspec.json import encode as to_json

from shroff.errors import LogBusyError, StateError, UsageError
from shroff.events.validation import latest_ms
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.progress import Progress
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct
from shroff.services.lake.project_lake import Lakes
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_log import FIRST_EVENTS
from shroff.services.writer.requests import WriterRequests
from shroff.streams.log import PRUNED_AT_ONCE, Log
from shroff.streams.sink_cursor import source_of, through_of
from shroff.streams.snapshots import Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shroff.lake.reader import LakeReader
    from shroff.log.state.snapshots import Saved

COMPARED = 32_768  # sequence numbers compared with the lake, then removed
NO_KEEP = "shroff.yaml sets no retention period for the store. Write 'keep: 400d' into it, for 400 days."


class PruningPlan(FrozenStruct):
    """The prunable sequence numbers (pruned, upto]. `kept_by` is the reason why later ones stay."""

    pruned: int
    upto: int
    last: int
    kept_by: str


class Pruned(OperationAnswer):
    """The records that moved to the lake now, or would move: the store begins after `upto`."""

    lake: str
    places: int
    upto: int
    last: int
    kept_by: str
    dry_run: bool

    def text(self) -> str:
        text = f"{many(self.places, 'record')} {'would move' if self.dry_run else 'moved'} to {self.lake}."
        return f"{text}\nThe store has the records {self.upto + 1:,} to {self.last:,}: {self.kept_by}."

    def hints(self) -> Sequence[str]:
        return ["shroff prune" if self.dry_run else "shroff verify"]


class Retention(ProjectPart):
    """Retention of old events."""

    _lake: Lakes
    _people: ProjectPeople
    _requests: WriterRequests

    def prune(
        self, *, is_dry: bool = False, writing: Progress | None = None, pruning: Progress | None = None
    ) -> Pruned:
        """Move events, labels and decisions older than `keep` from the store to the lake, also while another process
        writes.

        The lake is written first, and a snapshot if necessary. Each record and decision is read back from the lake and
        compared before it leaves the store.

        Args:
            is_dry: Only report what would be moved.
            writing: Called with the number of records written to the lake; `pruning` with the number removed.

        Raises: UsageError if the project has no log, no `keep` or no lake; StateError if the lake differs from the
            store, which then stays unchanged.
        """
        self._requests.needs_log("so nothing is kept")
        keep_ms = self._systems.keep_ms
        if keep_ms is None:
            raise UsageError(NO_KEEP)
        with self._lake.open() as lake, self._log.reading() as log:
            if not is_dry:
                lake.write(writing)
            upto = log.last_seq() if is_dry else lake.state.upto
            until_ms = latest_ms(self._definitions.settings, self._now_ms())
            plan = planned(log, keep_ms, upto, self._systems.sinks, until_ms)
            if plan.upto > plan.pruned and not is_dry:
                if not _has_snapshot(Snapshots(self._paths.snapshots), plan.upto):
                    self.snapshot()
                self._people.record("log.prune", "log", {"from": plan.pruned + 1}, {"upto": plan.upto})
                self._prune(log, lake.reader(), plan, pruning)
            return Pruned(lake.address, plan.upto - plan.pruned, plan.upto, plan.last, plan.kept_by, is_dry)

    def _prune(self, log: Log, lake: LakeReader, plan: PruningPlan, progress: Progress | None) -> None:
        for after in range(plan.pruned, plan.upto, COMPARED):
            stop = min(after + COMPARED, plan.upto)
            compare(log, lake, after, stop)
            self._prune_to(after, stop)
            if progress is not None:
                progress(stop - after)

    def _prune_to(self, after: int, stop: int) -> None:
        """Have the writer remove sequence numbers, few at a time, since events wait meanwhile."""
        from shroff.worker.inbox import PRUNE

        try:
            with closing(self._log.open(read_only=False)) as log:
                while log.prune(stop) < stop:
                    pass
        except LogBusyError:
            requests = self._requests
            for first in range(after, stop, PRUNED_AT_ONCE):
                requests.ask(PRUNE, to_json(min(first + PRUNED_AT_ONCE, stop)))

    def snapshot(self, progress: Progress | None = None) -> Saved:
        """Save a snapshot of the state, so that the next start reads only later events; a running writer saves its own.

        Raises: UsageError if there is no log yet; StorageError if it cannot be written.
        """
        from shroff.worker.inbox import SNAPSHOT, saved_of

        if not self._log.exists():
            raise UsageError(f"this project has no log yet, so there is no state to save. {FIRST_EVENTS}")
        try:
            with self._log.writing(progress) as (writer, _):
                return writer.snapshot()
        except LogBusyError:
            return saved_of(self._requests.ask(SNAPSHOT, b"null"))


def planned(log: Log, keep_ms: int, upto: int, sinks: Iterable[str], until_ms: int) -> PruningPlan:
    """Return the prunable range: up to the first event younger than `keep_ms`, measured from the watermark.

    The watermark is limited to `until_ms`, the latest time that an event may have now. Labels are pruned with the
    events around them, whenever they became known, so a wrong date delays nothing.

    Args:
        upto: The last sequence number in the lake.
        sinks: Names of the readers of the log; nothing is pruned that one of them has still to read.

    Cost: reads the prunable records.
    """
    pruned, last, watermark_ms = log.pruned_to(), log.last_seq(), log.watermark_ms()
    end, kept_by = last - 1, "the last record always stays"
    if upto < end:
        end, kept_by = upto, f"the lake has the log up to sequence number {upto:,}"
    for name in sinks:
        through = through_of(name, log.offsets.of(source_of(name))) or 0
        if through < end:
            end, kept_by = through, f"the sink {name} is at sequence number {through:,}"
    if watermark_ms is None or end <= pruned:
        return PruningPlan(pruned, pruned, last, kept_by)
    newest_ms = min(watermark_ms, until_ms)  # so that one wrong clock makes no event old
    for records in log.read(pruned, end):
        for record in records:
            if record.kind == "event" and record.time_ms >= newest_ms - keep_ms:
                return PruningPlan(
                    pruned,
                    record.seq - 1,
                    last,
                    f"the {record.type} at sequence number {record.seq:,} is not old enough",
                )
    return PruningPlan(pruned, end, last, kept_by)


def compare(log: Log, lake: LakeReader, after: int, upto: int) -> None:
    """Compare the sequence numbers (after, upto] in lake and store. Raises: StateError at the first difference."""
    both: tuple[tuple[Iterator[list[Any]], Iterator[list[Any]]], ...] = (
        (log.read(after, upto), lake.records(after, upto)),
        (log.decisions.after(after, upto), lake.decisions(after, upto)),
    )
    for ours, theirs in both:
        pairs = zip_longest(chain.from_iterable(ours), chain.from_iterable(theirs))
        wrong = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if wrong is not None:
            seq = min(row.seq for row in wrong if row is not None)
            raise StateError(
                f"{lake.objects.address} differs from the log at sequence number {seq:,}, so records from there on "
                "stay in the store. 'shroff lake check' checks the whole lake; write a new one into an empty folder "
                "where it is damaged"
            )


def _has_snapshot(snapshots: Snapshots, seq: int) -> bool:
    """Return whether an intact snapshot exists at or after a sequence number."""
    for file in snapshots.files():
        if int(file.stem) < seq:
            break
        try:
            if snapshots.check(file) is not None:
                return True
        except (StateError, OSError):  # the next start removes it with a message
            continue
    return False
