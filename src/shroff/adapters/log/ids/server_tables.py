"""The tables of runs of ids on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from shroff.adapters.log.rows import ID_PARTS, ID_RUNS
from shroff.adapters.log.server_sql import ServerWording
from shroff.adapters.log.session import Session


class ServerIdTables:
    """As `ids.tables.IdTables` says, on PostgreSQL.

    A look-up takes two round trips, and what is written leaves with the transaction. A batch that goes on with a
    merge asks once for each run that is merged.

    Args:
        ask: Asks the log's connection a question; `with_ids` one about a list of numbers.
        writing: The session of the open transaction, which no other one takes the place of.
    """

    def __init__(
        self,
        wording: ServerWording,
        ask: Callable[..., list[Any]],
        with_ids: Callable[..., Iterator[Any]],
        writing: Callable[[], Session],
    ) -> None:
        self._wording, self._ask, self._with_ids = wording, ask, with_ids
        self._writing = writing

    def runs(self) -> Iterable[Any]:
        return self._ask(self._wording.id_runs)

    def filter(self, run: int) -> bytes:
        return b"".join([kept for (kept,) in self._ask(self._wording.id_filter, (run,))])

    def missing(self) -> Iterable[int]:
        return [int(run) for (run,) in self._ask(self._wording.id_runs_missing)]

    def parts(self, keys: Sequence[int]) -> Sequence[tuple[int, bytes, int]]:
        return list(self._with_ids(self._wording.id_parts, "ibi", keys))

    def parts_between(self, first: int, end: int) -> Sequence[tuple[int, bytes, int]]:
        return self._ask(self._wording.id_parts_between, (first, end))

    def add(self, run: tuple[Any, ...], parts: Sequence[tuple[int, bytes, int]]) -> None:
        self._writing().put(ID_RUNS, [run])
        self._writing().put(ID_PARTS, parts)

    def drop(self, run: int) -> None:
        self._writing().do(self._wording.drop_run, (run,))

    def drop_parts(self, first: int, end: int) -> None:
        self._writing().do(self._wording.drop_parts, (first, end))

    def clear(self) -> None:
        for sql in self._wording.clear_ids:
            self._writing().do(sql)
