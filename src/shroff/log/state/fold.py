"""Folding the log: computes the state after some sequence number, and yields the events on the way."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from shroff.engine.step import Engine, SequencedEvent
from shroff.errors import PrunedError
from shroff.events.event import time_text
from shroff.events.labels import LabelEvent, VerdictInForce
from shroff.features.definitions import stacked
from shroff.features.frames import frames_of
from shroff.features.key_texts import Hits
from shroff.features.online.engine import Lateness, Online
from shroff.features.plan import make_plan
from shroff.language.expression import Aggregate, FeatureValue, Node, walk
from shroff.language.values import DAY_MS
from shroff.log.history import Control, Records, hits_by_place, texts_of
from shroff.log.lateness import lateness_after_resets, watermark_reset_of, written_lateness_ms
from shroff.project.definitions import Definitions, computed_of
from shroff.runtime.process_wide import calm_collector
from shroff.streams.log import LogReader, Record

if TYPE_CHECKING:
    from shroff.log.columns.stored import LogPiece

BY_COLUMNS = 16_384  # records: fewer are folded one by one, sooner than the column reader is loaded
BY_LOADED_COLUMNS = 1_024  # the same once the column reader is loaded
COLUMN_READER = "shroff.log.columns.stored"
Progress = Callable[[int], None]
FIRST = 4_096  # records of the first piece, since the length of their lines is unknown
MOST = 1 << 15
PIECE_BYTES = 1 << 23  # approximate size of a piece's lines; some pieces are in memory at a time
Lines = tuple[bytes, dict[int, Hits]]  # of a piece, and recorded hits by row


class Folded(Struct):
    """State after a fold: the engine, the active files, and the active verdict of each labeled event.

    `seq` is the sequence number reached.
    """

    engine: Engine
    records: Records
    control: Control
    standings: dict[str, VerdictInForce] = {}
    watermark_ms: int | None = None
    seq: int = 0


def empty(definitions: Definitions, lateness_ms: int | None = None) -> Folded:
    """Return the state before the first record of a log with this lateness; by default that of the version."""
    engine = Engine(definitions, lateness_ms)
    return Folded(engine, Records(definitions.events, definitions.settings.money_places), Control())


def empty_for_past(definitions: Definitions, lateness_ms: int) -> Folded:
    """Like `empty`, for rules that never change: all such states of one version share its plan."""
    plan = definitions.worked_out.get("plan")
    if plan is None:
        plan = make_plan(computed_of(definitions))
        definitions.worked_out["plan"] = plan
    online = Online(definitions.events, (), definitions.reference, lateness_ms, plan)
    engine = Engine(definitions, lateness_ms, online)
    return Folded(engine, Records(definitions.events, definitions.settings.money_places), Control())


def lateness_of(log: LogReader, definitions: Definitions) -> Lateness:
    """Return how late the log's events may be, in ms: the greatest lateness of all its versions and of this one.

    An event that an older version accepted must still find its history, though the current version would refuse it; so
    must an event that is in time because the watermark was set back.
    """
    usual_ms = max([definitions.settings.lateness_ms, *map(written_lateness_ms, texts_of(log, "shroff.yaml"))])
    return lateness_after_resets(usual_ms, log.controls())


def fold(
    log: LogReader,
    definitions: Definitions,
    upto: int | None = None,
    progress: Progress | None = None,
    start: Folded | None = None,
) -> Folded:
    """Return the state of `definitions` as if they had been active from the start, with hits as recorded.

    Args:
        start: State of the same definitions to continue from, such as a snapshot's; it is modified.

    Raises: PrunedError if older events have left the store and no lake has them; it names the day from which on the
        version would be exact.
    Cost: one pass over the log, from the sequence number of `start` up to `upto`.
    """
    folded = empty(definitions, lateness_of(log, definitions)) if start is None else start
    try:
        with calm_collector():
            end = log.last_seq() if upto is None else min(upto, log.last_seq())
            # State is folded up to each control event that sets the watermark back, and then to the end.
            resets = [(watermark_reset_of(control), control.seq) for control in log.controls(folded.seq, end)]
            stops = [(reset, seq) for reset, seq in resets if reset is not None]
            for reset, stop in [*stops, (None, end)]:
                if stop - folded.seq >= BY_COLUMNS:
                    _fold_columns(log, folded, stop, progress)
                for placed in placed_batches(log, folded, stop):
                    folded.engine.step(placed)
                    if progress is not None:
                        progress(len(placed))
                if reset is not None:
                    folded.watermark_ms = reset.at_ms
    except PrunedError as error:
        raise lacking(error, log, definitions) from error
    return folded


def take_past(folded: Folded, records: Sequence[Record]) -> None:
    """Advance state by records from anywhere in the log, in its order, which had no hits."""
    definitions = folded.engine.definitions
    if len(records) >= (BY_LOADED_COLUMNS if COLUMN_READER in sys.modules else BY_COLUMNS):
        from shroff.log.columns.stored import LineReader

        piece = LineReader(definitions).piece_of(records)
        folded.engine.pass_over(piece.frames, piece.size, {})
        _note(piece, folded)
        return
    taken = [take(record, folded, {}) for record in records]
    events = [placed.event for placed in taken if placed is not None]
    if events:
        frames = frames_of(events, definitions.events, definitions.reference)
        folded.engine.pass_over(frames, len(events), {})
    folded.engine.passed()


def placed_batches(
    log: LogReader, folded: Folded, upto: int | None, decide_after: int | None = None
) -> Iterator[list[SequencedEvent]]:
    """Yield the events after `folded`, with their recorded hits.

    Control events and verdicts go into `folded`. Decided events after `decide_after` are to be decided again: they come
    without hits.
    """
    hits = hits_by_place(log, upto, folded.seq)
    hit_seq, rules = next(hits, (0, {}))
    for records in log.read(folded.seq, upto):
        placed: list[SequencedEvent] = []
        for record in records:
            while hit_seq and hit_seq < record.seq:
                hit_seq, rules = next(hits, (0, {}))
            recorded: Hits | None = rules if hit_seq == record.seq else {}
            if decide_after is not None and record.seq > decide_after and record.decided:
                recorded = None
            event = take(record, folded, recorded)
            if event is not None:
                placed.append(event)
        folded.seq = records[-1].seq
        if placed:
            yield placed


def take(record: Record, folded: Folded, hits: Hits | None) -> SequencedEvent | None:
    """Apply one past record to the state and return it for the engine; None if the engine does not take it."""
    if record.kind == "control":
        folded.control.take(record)
        set_back = watermark_reset_of(record)
        if set_back is not None:
            folded.watermark_ms = set_back.at_ms
        return None
    event = folded.records.decode(record)
    if event is None:
        return None
    if isinstance(event, LabelEvent):
        _take_label(event, folded)
    else:
        folded.watermark_ms = max(
            event.time_ms, folded.watermark_ms if folded.watermark_ms is not None else event.time_ms
        )
    return SequencedEvent(record.seq, event, record.body, hits)


def _take_label(label: LabelEvent, folded: Folded) -> None:
    event_name = str(label.values[0])
    new = label.standing
    if new.takes_over(folded.standings.get(event_name)):
        folded.standings[event_name] = new


# ---- by columns: creates no object for each event, and reads the log in parallel with folding


def _fold_columns(log: LogReader, folded: Folded, upto: int, progress: Progress | None) -> None:
    """Advance state to the sequence number `upto`, which the log has.

    Raises: DefinitionError or StateError if a body cannot be read; PrunedError, as `fold`.
    """
    # Imported here since they load kernels, which takes longer than folding few events.
    from shroff.log.columns.stored import LineReader
    from shroff.runtime.progress import ahead

    reader = LineReader(folded.engine.definitions)
    controls = log.controls(folded.seq, upto)
    for control in controls:
        folded.control.take(control)
    # From here on only the reader's thread uses the log: a log answers one query at a time.
    with closing(ahead(_pieces(log, folded.seq, upto))) as pieces:
        for lines, hits in pieces:
            piece = reader.piece(lines, folded.seq)
            folded.engine.pass_over(piece.frames, piece.size, hits)
            _note(piece, folded)
            if progress is not None:
                progress(sum(map(len, piece.frames.values())))
    folded.engine.passed()


def _pieces(log: LogReader, after: int, upto: int) -> Iterator[Lines]:
    past = hits_by_place(log, upto, after)
    hit_seq, rules = next(past, (0, {}))
    count_max = FIRST
    before = -1
    while before < after < upto:
        before = after
        for lines in log.lines(after, min(after + count_max, upto), count_max):
            count = lines.count(b"\n")
            hits = dict[int, Hits]()
            while 0 < hit_seq <= after + count:
                hits[hit_seq - after - 1] = rules
                hit_seq, rules = next(past, (0, {}))
            yield lines, hits
            after += count
            count_max = max(1, min(MOST, PIECE_BYTES * count // len(lines)))


def _note(piece: LogPiece, folded: Folded) -> None:
    for _, label in piece.labels:
        _take_label(label, folded)
    newest = [int(frame.times.max()) for name, frame in piece.frames.items() if name != "label"]
    if newest:
        folded.watermark_ms = max(*newest, newest[0] if folded.watermark_ms is None else folded.watermark_ms)
    folded.seq = piece.after + piece.size


# ---- how far back a version looks, and so from which day on it is exact if older events are missing


def reach_ms(nodes: Iterable[Node], definitions: Definitions) -> int | None:
    """Return how old an event may be that a value of these expressions depends on; None for unlimited.

    A feature of earlier features' values looks back as far as both together.
    """
    longest = 0
    for part in chain.from_iterable(map(walk, nodes)):
        if isinstance(part, Aggregate | FeatureValue):
            back_ms = 0 if isinstance(part, FeatureValue) else part.over_ms
            read = stacked(part) & definitions.features.keys()  # a score's inputs are computed under its own name
            inside = reach_ms([definitions.features[name].node for name in read], definitions)
            if back_ms is None or inside is None:
                return None
            longest = max(longest, back_ms + inside + (part.delay_ms if isinstance(part, Aggregate) else 0))
    return longest


def lacking(error: PrunedError, log: LogReader, definitions: Definitions) -> PrunedError:
    """Return the error for a version whose state cannot be computed because older events are missing."""
    back_ms = reach_ms([computed.node for computed in computed_of(definitions)], definitions)
    message = "The state of this version needs the whole log, and cannot be computed without the lake"
    if back_ms is None:
        return PrunedError(log.place, error.upto, f"{message}: some windows have no end")
    ((first,),) = log.read(error.upto, error.upto + 1)
    day = time_text(first.time_ms + back_ms + DAY_MS - 1)[:10]
    return PrunedError(
        log.place, error.upto, f"{message}; with the records of the store alone it would be exact from {day} on"
    )
