"""Lists and look-up tables as they were at each event of a log, for backtests and training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from shroff.engine.stored import telling_damage
from shroff.language.expression import Node
from shroff.language.row import Reference
from shroff.log.state.feature_events import LookUpsThen
from shroff.project.definitions import Definitions, is_list
from shroff.project.dependency_hash import read_by
from shroff.project.look_ups import look_ups, reference_as_of
from shroff.project.table_files import is_table, table_name
from shroff.replay.compare import segments
from shroff.runtime.values import replace
from shroff.streams.log import LogReader

# Passes over a log at most. Each change of a list or table that windows read needs one. If there are more changes, some
# wait for the next pass: an event may then read an older list, never a newer one.
FOLDS_MAX = 8
LookUp = tuple[str, str]  # `list` or `table`, and the name


def look_ups_then(log: LogReader, definitions: Definitions, nodes: Sequence[Node], after: int = 0) -> list[LookUpsThen]:
    """Return the lists and tables that expressions read after a sequence number, by stretches of the log, in order.

    Cost: loads each version of the project that changed one of these lists or tables.
    """
    names = read_by(nodes, definitions.features.get)
    expressions = [*nodes, *(feature.node for feature in names.features.values())]
    stateful = look_ups(expressions, definitions.events, definitions.features).kept
    requested = stateful | {("list", name) for name in names.lists} | {("table", name) for name in names.tables}
    if not requested:
        return []
    return list(_by_folds(list(_stretches(log, definitions, requested, after)), stateful))


def _stretches(
    log: LogReader, definitions: Definitions, requested: Collection[LookUp], after: int
) -> Iterator[LookUpsThen]:
    """Yield the stretches of a log in which the files of some lists and tables stay the same."""
    last_files: dict[str, str] | None = None
    stretch: LookUpsThen | None = None
    for segment in (segment for segment in segments(log) if not segment.is_empty and segment.end > after):
        files = {name: text for name, text in segment.files.items() if _look_up_of(name) in requested}
        if stretch is not None and files == last_files:
            stretch = replace(stretch, end=segment.end)
            continue
        if stretch is not None:
            yield stretch
        with telling_damage():
            stretch = LookUpsThen(segment.end, reference_as_of(definitions, segment.definitions))
        last_files = files
    if stretch is not None:
        yield stretch


def _look_up_of(file: str) -> LookUp | None:
    if is_list(file):
        return "list", file.removeprefix("lists/").removesuffix(".csv")
    return ("table", table_name(file)) if is_table(file) else None


def _by_folds(stretches: Sequence[LookUpsThen], stateful: Collection[LookUp]) -> Iterator[LookUpsThen]:
    """Number the folds, at most `FOLDS_MAX`: one begins where a list or table that windows read changes."""
    fold_starts = [
        index
        for index in range(1, len(stretches))
        if _of(stretches[index], stateful) != _of(stretches[index - 1], stateful)
    ]
    if len(fold_starts) >= FOLDS_MAX:
        fold_starts = [fold_starts[index * len(fold_starts) // (FOLDS_MAX - 1)] for index in range(FOLDS_MAX - 1)]
    fold = 0
    first = stretches[0] if stretches else None
    for index, stretch in enumerate(stretches):
        if index in fold_starts:
            fold += 1
            first = stretch
        assert first is not None
        yield LookUpsThen(stretch.end, _with(stretch.reference, first.reference, stateful), fold)


def _of(stretch: LookUpsThen, stateful: Collection[LookUp]) -> dict[LookUp, object]:
    return {look_up: _rows(stretch.reference, look_up) for look_up in stateful}


def _rows(reference: Reference, look_up: LookUp) -> object:
    kind, name = look_up
    return reference.lists.get(name) if kind == "list" else reference.tables.get(name)


def _with(reference: Reference, first: Reference, stateful: Collection[LookUp]) -> Reference:
    """Return a reference in which the look-ups `stateful` are those of `first`."""
    lists = {name: first.lists[name] if ("list", name) in stateful else rows for name, rows in reference.lists.items()}
    tables = {
        name: first.tables[name] if ("table", name) in stateful else rows for name, rows in reference.tables.items()
    }
    return Reference(lists, tables)
