"""Features of a log's events, with lists and tables as of each event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from shroff.log.columns.tables import Way, feature_tables, known_type, tables_of
from shroff.log.state.feature_events import FeatureEvents, LookUpsThen, NumberedEvents, known_by, log_batches
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.streams.log import Log
from shroff.training.sets.sources import HistorySource, known_at, log_source, of_fold

if TYPE_CHECKING:
    import pyarrow as pa


def log_features(
    log: Log, definitions: Definitions, event: str, way: Way, as_of_ms: int | None = None
) -> Iterator[pa.Table]:
    """Compute the features of one type's events known at a moment; yield tables in log order.

    Cost: a pass over the log for each fold of `look_ups_then`.
    """
    known_type(definitions, event)
    nodes = [definitions.features[name].node for name in definitions.feature_names(event)]
    source = log_source(log, definitions, event, nodes=nodes)
    after = 0  # last sequence number that earlier folds answered
    for fold in range(max(len(source.folds), 1)):
        stretches = _stretches(source, fold)
        as_of = replace(definitions, reference=source.folds[fold].reference) if source.folds else definitions
        if way.engine == "naive":
            batches = known_by(_until(log_batches(log, definitions), stretches), as_of_ms)
            tables = feature_tables(as_of, event, batches, source.lateness_ms, way, stretches)
        else:
            history = _known(of_fold(source, fold), as_of_ms, definitions, event)
            tables = tables_of(as_of, event, history, source.lateness_ms, way)
        for table in tables:
            first_new = int(np.searchsorted(table["seq"].to_numpy(), after, "right"))
            if first_new < len(table):
                yield table.slice(first_new)
        after = stretches[-1].end if stretches else after


def _stretches(source: HistorySource, fold: int) -> list[LookUpsThen]:
    """Return the stretches up to the end of a fold; earlier ones get the lists and tables it begins with."""
    first = source.folds[fold].reference if source.folds else None
    return [
        then if first is None or then.fold == fold else replace(then, reference=first)
        for then in source.stretches
        if then.fold <= fold
    ]


def _until(batches: NumberedEvents, stretches: list[LookUpsThen]) -> NumberedEvents:
    for batch in batches:
        yield [pair for pair in batch if not stretches or pair[0] <= stretches[-1].end]


def _known(
    history: Iterator[FeatureEvents], as_of_ms: int | None, definitions: Definitions, event: str
) -> Iterator[FeatureEvents]:
    for events in history:
        yield events if as_of_ms is None else known_at(events, as_of_ms, definitions, event)
