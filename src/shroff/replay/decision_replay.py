"""Computes one decision again from the log, and returns it with the recorded one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from msgspec import UNSET, UnsetType

from shroff.engine.stored import telling_damage
from shroff.errors import ReplayError
from shroff.log.history import Control
from shroff.log.state.fold import Folded, empty_for_past, fold, lateness_of, take_past
from shroff.operations.declaration import OperationAnswer
from shroff.project.definitions import Definitions
from shroff.project.scoring import LoadModel
from shroff.project.table_files import tables_from_content
from shroff.replay.compare import Segment, redecided
from shroff.runtime.texts import one_line
from shroff.streams.log import DecisionRow, LogReader, Record


class Replay(OperationAnswer):
    """A decision computed again; if it differs, both versions."""

    match: bool
    receipt: str
    event: str
    id: str
    recorded: str | UnsetType = UNSET
    computed: str | UnsetType = UNSET
    NEXT: ClassVar = ("shroff verify",)
    STATUS: ClassVar = "match"

    def text(self) -> str:
        event_name = f"{self.event} {one_line(self.id)}"
        if self.match:
            return f"{event_name} is reproduced byte for byte.\nreceipt {self.receipt}"
        return f"{event_name} differs from the record.\nrecorded: {self.recorded}\ncomputed: {self.computed}"


class Replayed(NamedTuple):
    """A decision as recorded, and as computed now."""

    recorded: DecisionRow
    computed: DecisionRow

    @property
    def match(self) -> bool:
        return (self.recorded.document, self.recorded.receipt) == (self.computed.document, self.computed.receipt)

    @property
    def receipt(self) -> str:
        return f"sha256:{self.recorded.receipt.hex()}"

    def document(self) -> Replay:
        """Return the result for programs; with both versions if they differ."""
        row = self.recorded
        answer = Replay(match=self.match, receipt=self.receipt, event=row.event, id=row.id)
        if not self.match:
            answer.recorded = row.document.decode()
            answer.computed = self.computed.document.decode()
        return answer


@telling_damage()
def replay(
    log: LogReader, seq: int, load_model: LoadModel | None = None, past: Sequence[Record] | None = None
) -> DecisionRow:
    """Compute one decision again from the log and the model that scored it.

    Its past is taken from the log: events, and recorded hits (`verify` computes those again).

    Args:
        past: The records that the decision depends on, in log order; by default all are read.

    Cost: without `past` one pass over the log up to it, by columns: 3 s for a million events.
    Raises: ReplayError if there is no decision at this sequence number; StateError if the model cannot be loaded.
    """
    control = Control()
    start = 0
    for record in log.controls(upto=seq - 1):
        control.take(record)
        start = record.seq
    if start:
        segment = Segment(control.files, start, seq, load_model)
        with tables_from_content():
            definitions = segment.definitions
        folded = fold(log, definitions, seq - 1) if past is None else _folded(log, definitions, seq, past)
        for effects in redecided(log, segment, folded=folded):
            for row in effects.decisions:
                return row
    raise ReplayError(f"the log gives no decision at sequence number {seq}")


def _folded(log: LogReader, definitions: Definitions, seq: int, records: Sequence[Record]) -> Folded:
    folded = empty_for_past(definitions, lateness_of(log, definitions))
    take_past(folded, records)
    folded.seq = seq - 1
    return folded
