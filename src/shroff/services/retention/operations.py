"""Operations on stored events and state: prune old events into the lake, save a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from shroff.operations.declaration import DryRun, OperationAnswer, OperationRequest, ProgressSteps, operation
from shroff.runtime.texts import bytes_text
from shroff.services.retention.log_retention import Retention

if TYPE_CHECKING:
    from shroff.services.retention.log_retention import Pruned


class PruneLog(OperationRequest["Pruned"]):
    """
    Args:
        is_dry: Show what would be moved; change nothing.
    """

    is_dry: DryRun = False


@operation("prune", right="run:jobs")
def prune_log(retention: Retention, progress: ProgressSteps, request: PruneLog) -> Pruned:
    """Move events, labels and decisions older than 'keep' in shroff.yaml from the store to the lake.

    Nothing else changes. Ids stay known forever, and an old event that is sent again gets its original decision.
    Labels still join old events, and 'verify', 'replay', 'explain', 'backtest' and 'export' read lake and store as one
    log. Each record is read back from the lake and compared before it leaves the store, and state is saved first. A
    worker prunes by itself about once an hour; if one runs, it does the work between two batches.

    Examples:
        shroff prune
        shroff prune --dry-run
    """
    writing, pruning = progress.counting("writing the lake, records"), progress.counting("pruning, records")
    return retention.prune(is_dry=request.is_dry, writing=writing, pruning=pruning)


class SaveSnapshot(OperationRequest["SavedSnapshot"]):
    pass


class SavedSnapshot(OperationAnswer):
    """A snapshot of the state at a sequence number."""

    file: str
    seq: int
    bytes: int
    seconds: float
    NEXT: ClassVar = ("shroff doctor",)

    def text(self) -> str:
        size = bytes_text(self.bytes)
        return f"{self.file}: state at sequence number {self.seq:,}, {size}, written in {self.seconds:.1f} s."


@operation("snapshot", right="run:jobs")
def save_snapshot(retention: Retention, progress: ProgressSteps, request: SaveSnapshot) -> SavedSnapshot:
    """Save a snapshot of the state, so that the next start reads only later events.

    Long runs of 'ingest' save one at their end. The two newest snapshots are kept in .shroff/snapshots/. You may
    delete the folder at any time: the next start then reads the whole log. If another process writes the log, that
    process saves its state between two batches.

    Examples:
        shroff snapshot
        shroff -C mybank snapshot --json
    """
    saved = retention.snapshot(progress.counting("restoring state, events"))
    return SavedSnapshot(file=str(saved.file), seq=saved.seq, bytes=saved.bytes, seconds=round(saved.seconds, 3))
