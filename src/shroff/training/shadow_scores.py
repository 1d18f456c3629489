"""Scores of models on the events of a log, shadow models included, for comparisons.

Scores of models that do not decide are not stored. They follow from the log, so the batch engine computes them when
needed (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np

from shroff.arrays import NO_INTS, Floats, Ints
from shroff.features.batch.engine import BatchEngine
from shroff.features.computed import Computed
from shroff.json_types import TextMapping
from shroff.log.state.feature_events import FeatureEvents
from shroff.models.in_force import FILE, TRIED, InForce, read_in_force, role_of
from shroff.project.definitions import Definitions
from shroff.project.scoring import Scorer, unavailable
from shroff.replay.compare import segments
from shroff.runtime.process_wide import calm_collector, threads
from shroff.runtime.progress import Progress
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, LogReader
from shroff.training.sets.sources import feed, log_source, of_fold
from shroff.training.sets.wanted import features_read

PIECE_ROWS = 1 << 18  # rows whose scores are in memory at a time


class Scores(FrozenStruct):
    """Scores of consecutive events of a log by several models.

    Args:
        seqs: Sequence numbers of the events.
        by_model: For each model's id its scores as decisions show them, never NaN.
    """

    seqs: Ints
    by_model: Mapping[str, Floats]


def scores_of(
    log: Log,
    definitions: Definitions,
    event: str,
    models: Sequence[Scorer],
    *,
    after: int = 0,
    progress: Progress | None = None,
) -> Iterator[Scores]:
    """Yield each model's scores of the events of a type after a sequence number, decided or not, in log order.

    Features are computed by the current definitions for all events. If one of these models decided an event and its
    features have not changed since, its score is the one in the decision.

    Raises: StateError if a model cannot be loaded.
    Cost: one pass of the batch engine over the whole log, for the features that the models read.
    """
    for model in models:
        if model.failure:
            raise unavailable(model)
    names = {model.id: f"score by {model.id}" for model in models}
    nodes = {model.id: model.node() for model in models}
    at = frozenset([event])
    computed = [
        *features_read(definitions, event, list(nodes.values())),
        *(Computed(names[id_], node, "", at, needs_key=False) for id_, node in nodes.items()),
    ]
    source = log_source(log, definitions, event, nodes=[item.node for item in computed])
    for fold in range(max(1, len(source.folds))):
        reference = source.folds[fold].reference if source.folds else definitions.reference
        engine_arguments = definitions.events, computed, reference, source.lateness_ms
        with calm_collector(), closing(BatchEngine(*engine_arguments, threads=threads(), also=[event])) as batch:
            seqs: list[Ints] = []

            def noted(events: FeatureEvents, seqs: list[Ints] = seqs, fold: int = fold) -> FeatureEvents:
                is_earlier = events.look_ups is not None and events.look_ups.fold < fold
                seqs.append(np.zeros_like(events.seqs) if is_earlier else events.seqs)  # 0 is never behind `after`
                if progress is not None:
                    progress(events.size)
                return events

            feed(batch, map(noted, of_fold(source, fold)))
            yield from _answers(batch, event, names, np.concatenate([NO_INTS, *seqs]), after)


def _answers(batch: BatchEngine, event: str, names: TextMapping, seqs: Ints, after: int) -> Iterator[Scores]:
    first = 0
    for frames in batch.answers(PIECE_ROWS):
        frame = frames.get(event)
        if frame is None:
            continue
        piece_seqs = seqs[first : first + len(frame)]
        first += len(frame)
        is_after = piece_seqs > after
        if is_after.any():
            columns = {id_: frame.computed[name].values[is_after].astype(np.float64) for id_, name in names.items()}
            yield Scores(piece_seqs[is_after], columns)


def tried_since(log: LogReader, event: str, model: str) -> int | None:
    """Return the sequence number since which a model has been active or in shadow without a break, else None.

    A champion and a shadow model can be compared after the later of their two sequence numbers.
    """
    since: int | None = None
    for segment in segments(log):
        in_force = read_in_force(segment.files.get(FILE), []).get(event, InForce())
        is_tried = role_of(in_force, model) in TRIED
        if not is_tried:
            since = None
        elif since is None:
            since = segment.start
    return since
