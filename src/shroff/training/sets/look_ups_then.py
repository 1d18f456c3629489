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
    """Return what expressions look up behind a place, by stretches of the log in order; empty if nothing.

    Cost: loads each version of the project that changed one of these lists or tables.
    """
    names = read_by(nodes, definitions.features.get)
    expressions = [*nodes, *(feature.node for feature in names.features.values())]
    kept = look_ups(expressions, definitions.events, definitions.features).kept
    wanted = kept | {("list", name) for name in names.lists} | {("table", name) for name in names.tables}
    if not wanted:
        return []
    return list(_by_folds(list(_stretches(log, definitions, wanted, after)), kept))


def _stretches(
    log: LogReader, definitions: Definitions, asked: Collection[LookUp], after: int
) -> Iterator[LookUpsThen]:
    """Yield the stretches of a log in which the files of some lists and tables stay the same."""
    before: dict[str, str] | None = None
    stretch: LookUpsThen | None = None
    for segment in (segment for segment in segments(log) if not segment.is_empty and segment.end > after):
        files = {name: text for name, text in segment.files.items() if _look_up_of(name) in asked}
        if stretch is not None and files == before:
            stretch = replace(stretch, end=segment.end)
            continue
        if stretch is not None:
            yield stretch
        with telling_damage():
            stretch = LookUpsThen(segment.end, reference_as_of(definitions, segment.definitions))
        before = files
    if stretch is not None:
        yield stretch


def _look_up_of(file: str) -> LookUp | None:
    if is_list(file):
        return "list", file.removeprefix("lists/").removesuffix(".csv")
    return ("table", table_name(file)) if is_table(file) else None


def _by_folds(stretches: Sequence[LookUpsThen], kept: Collection[LookUp]) -> Iterator[LookUpsThen]:
    """Number the folds: one begins where a list or table that windows read changes; `FOLDS_MAX` of them at most."""
    begins = [at for at in range(1, len(stretches)) if _of(stretches[at], kept) != _of(stretches[at - 1], kept)]
    if len(begins) >= FOLDS_MAX:
        begins = [begins[at * len(begins) // (FOLDS_MAX - 1)] for at in range(FOLDS_MAX - 1)]
    fold = 0
    first = stretches[0] if stretches else None
    for at, stretch in enumerate(stretches):
        if at in begins:
            fold += 1
            first = stretch
        assert first is not None
        yield LookUpsThen(stretch.end, _with(stretch.reference, first.reference, kept), fold)


def _of(stretch: LookUpsThen, kept: Collection[LookUp]) -> dict[LookUp, object]:
    return {look_up: _rows(stretch.reference, look_up) for look_up in kept}


def _rows(reference: Reference, look_up: LookUp) -> object:
    kind, name = look_up
    return reference.lists.get(name) if kind == "list" else reference.tables.get(name)


def _with(reference: Reference, first: Reference, kept: Collection[LookUp]) -> Reference:
    """Return a reference in which the look-ups `kept` are those of `first`."""
    lists = {name: first.lists[name] if ("list", name) in kept else rows for name, rows in reference.lists.items()}
    tables = {name: first.tables[name] if ("table", name) in kept else rows for name, rows in reference.tables.items()}
    return Reference(lists, tables)
