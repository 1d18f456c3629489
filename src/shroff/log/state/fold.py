"""Folding the log: state as it is after some place, and the events on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from shroff.engine.step import Engine, Placed
from shroff.errors import PrunedError
from shroff.events.labels import LabelEvent, Standing
from shroff.features.key_texts import Hits
from shroff.language.yaml import text as yamltext
from shroff.log.history import Control, Records, hits_by_place, standing_of, texts_of
from shroff.log.reach import lacking
from shroff.project.definitions import Definitions
from shroff.project.settings.loading import load_settings
from shroff.runtime.gc_pause import calm_collector
from shroff.streams.log import Log, Record

BY_COLUMNS: Final = 16_384  # places: fewer are folded one by one sooner than what reads columns is loaded
Progress = Callable[[int], None]


@dataclass(slots=True)
class Folded:
    """State after a fold: the engine, what is in force by the log, and the verdict of each labelled event.

    `seq` is the place that it has come to.
    """

    engine: Engine
    records: Records
    control: Control
    standings: dict[str, Standing] = field(default_factory=dict)
    watermark_ms: int | None = None
    seq: int = 0


def empty(definitions: Definitions, lateness_ms: int | None = None) -> Folded:
    """State before the first place of a log whose events are at most so late; by default as the version says."""
    engine = Engine(definitions, lateness_ms)
    return Folded(engine, Records(definitions.events, definitions.settings.money_places), Control())


def lateness_of(log: Log, definitions: Definitions) -> int:
    """How late the log's events may be, in ms: the greatest lateness of all its versions and of this one.

    An event that an older version let in must still find what it looks back at, though
    the version that computes it would refuse it.
    """
    earlier = (load_settings(yamltext.read(text, "shroff.yaml", []), []) for text in texts_of(log, "shroff.yaml"))
    return max([definitions.settings.lateness_ms, *(one.lateness_ms for one in earlier)])


def fold(
    log: Log,
    definitions: Definitions,
    upto: int | None = None,
    progress: Progress | None = None,
    start: Folded | None = None,
) -> Folded:
    """The state of `definitions` as if they had stood from the start, with hits as they were.

    Args:
        start: State of the same definitions to go on from, as a snapshot gave it; it is moved on itself.

    Raises: PrunedError where older events have left the store and no lake has them; it says from which day on the
        version would be exact.
    Cost: one pass over the log, from the place of `start` up to the place `upto`.
    """
    folded = empty(definitions, lateness_of(log, definitions)) if start is None else start
    try:
        with calm_collector():
            end = log.last_seq() if upto is None else min(upto, log.last_seq())
            if end - folded.seq >= BY_COLUMNS:
                # It loads kernels, which takes longer than few events.
                from shroff.log.state.fold_columns import fold_columns

                fold_columns(log, folded, end, progress)
            for placed in placed_batches(log, folded, upto):
                folded.engine.step(placed)
                if progress is not None:
                    progress(len(placed))
    except PrunedError as error:
        raise lacking(error, log, definitions) from error
    return folded


def placed_batches(
    log: Log, folded: Folded, upto: int | None = None, decide_after: int | None = None
) -> Iterator[list[Placed]]:
    """The events behind the place of `folded` with the hits that were recorded.

    Control events and verdicts go into `folded`. Events behind the place `decide_after`
    that were decided are to be decided again: they come without hits.
    """
    hits = hits_by_place(log, upto, folded.seq)
    place, rules = next(hits, (0, {}))
    for records in log.read(folded.seq, upto):
        placed: list[Placed] = []
        for record in records:
            while place and place < record.seq:
                place, rules = next(hits, (0, {}))
            recorded: Hits | None = rules if place == record.seq else {}
            if decide_after is not None and record.seq > decide_after and record.decided:
                recorded = None
            one = take(record, folded, recorded)
            if one is not None:
                placed.append(one)
        folded.seq = records[-1].seq
        if placed:
            yield placed


def take(record: Record, folded: Folded, hits: Hits | None) -> Placed | None:
    """One record of the past as the engine takes it; None where it takes none."""
    if record.kind == "control":
        folded.control.take(record)
        return None
    event = folded.records.decode(record)
    if event is None:
        return None
    if isinstance(event, LabelEvent):
        named = str(event.values[0])
        current, new = folded.standings.get(named), standing_of(event)
        if current is None or current.gives_way_to(new):
            folded.standings[named] = new
    else:
        folded.watermark_ms = max(
            event.time_ms, folded.watermark_ms if folded.watermark_ms is not None else event.time_ms
        )
    return Placed(record.seq, event, record.body, hits)
