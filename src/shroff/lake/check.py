"""Checks a lake: every file and document unchanged, every sequence number of the log once, and nothing beyond."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow.parquet as pq

from shroff.arrays import Ints
from shroff.errors import StorageError
from shroff.lake.check_documents import check_documents
from shroff.lake.files import arrow_reader, data_of
from shroff.lake.reader import RECORDS, LakeReader
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.texts import bytes_text, many
from shroff.streams.lake import RetriedObjects
from shroff.streams.lake_manifest import File, LakeState
from shroff.streams.log import Log

SHOWN = 20  # problems in the text for people


class LakeCheck(OperationAnswer):
    """Result of a check: what was read, and the problems as sentences.

    `documents_unchecked` counts documents whose rows neither the lake nor the log has any more.
    """

    lake: str = ""
    ok: bool = True
    files: int = 0
    rows: int = 0
    documents: int = 0
    documents_unchecked: int = 0
    bytes: int = 0
    upto: int = 0
    problems: list[str] = msgspec.field(default_factory=list)
    STATUS: ClassVar = "problems"

    def text(self) -> str:
        parts = [many(self.files, "file"), many(self.rows, "row")]
        if self.documents:
            parts.append(many(self.documents, "document"))
        if self.documents_unchecked:
            parts.append(f"{many(self.documents_unchecked, 'document')} not checked, as their rows are gone")
        counts = ", ".join([*parts, bytes_text(self.bytes)])
        problem_lines = "".join(f"\n  {problem}" for problem in self.problems[:SHOWN])
        result = "nothing is wrong." if not self.problems else f"{many(len(self.problems), 'problem')}:{problem_lines}"
        return f"{self.lake}: {counts}, up to sequence number {self.upto:,}; {result}"


class _SeqCounts:
    """How often each sequence number occurs, by kind of rows; counts wrap at 256."""

    def __init__(self, upto: int) -> None:
        self._counts = {kind: np.zeros(upto + 1, np.uint8) for kind in ("records", "decisions", "features")}
        self._numbered: dict[str, set[tuple[int, int]]] = {"flags": set(), "hits": set()}

    def add(self, kind: str, seqs: Ints, table: Any) -> str:
        """Count the rows of a file; return a problem within them, or ""."""
        if seqs[0] < 1 or seqs[-1] >= len(self._counts["records"]):
            return "it has sequence numbers beyond the end of the lake"
        if kind in self._numbered:
            pairs = list(zip(seqs.tolist(), table["number"].to_pylist(), strict=True))
            is_doubled = len(set(pairs)) < len(pairs) or not self._numbered[kind].isdisjoint(pairs)
            self._numbered[kind].update(pairs)
            return f"rows of {kind} are duplicated" if is_doubled else ""
        counts = self._counts["records" if kind in RECORDS else kind]
        np.add.at(counts, seqs, np.uint8(1))
        return ""

    def problems(self) -> list[str]:
        records, decisions, features = (counts[1:] for counts in self._counts.values())
        marks = np.array([seq for rows in self._numbered.values() for seq, _ in rows], np.int64)
        marked = np.zeros(len(records), np.bool_)
        marked[marks - 1] = True
        wrong = {
            "of the log is missing": records == 0,
            "of the log is there twice": records > 1,
            "has two decisions": decisions > 1,
            "has its features twice": features > 1,
            "has features and no decision": (features > 0) & (decisions == 0),
            "has a flag or hit and no record": marked & (records == 0),
        }
        seqs_by_problem = {problem: np.flatnonzero(rows) + 1 for problem, rows in wrong.items()}
        return [
            f"sequence number {seqs[0]:,} {problem}{_more(len(seqs))}"
            for problem, seqs in seqs_by_problem.items()
            if len(seqs)
        ]


def _more(count: int) -> str:
    return f", and {many(count - 1, 'other is', 'others are')} too" if count > 1 else ""


def check(
    objects: RetriedObjects, state: LakeState, progress: Callable[[int], None] | None = None, log: Log | None = None
) -> LakeCheck:
    """Fetch and check all files and documents; `progress` is called for each.

    Args:
        log: Compared with documents if the lake has no rows; the lake must be of this log.

    Cost: reads the whole lake. Memory: three bytes for each sequence number, and the flags and hits.
    """
    result = LakeCheck(upto=state.upto)
    counts = _SeqCounts(state.upto)
    for file in sorted(state.files.values(), key=lambda file: (file.first, file.path)):
        _check_file(objects, file, counts, result)
        if progress is not None:
            progress(1)
    if state.is_whole:
        result.problems += counts.problems()
    rows = LakeReader(objects, state) if state.number and state.is_whole else log
    documents = check_documents(objects, state, rows, progress)
    result.documents = documents.documents
    result.documents_unchecked = documents.unchecked
    result.bytes += documents.bytes
    result.problems += documents.problems
    return result


def _check_file(objects: RetriedObjects, file: File, counts: _SeqCounts, result: LakeCheck) -> None:
    try:
        data = data_of(objects, file)
    except StorageError as error:
        result.problems.append(str(error))
        return
    names = ["seq", *(["number"] if file.kind in {"flags", "hits"} else [])]
    table = pq.ParquetFile(arrow_reader(data)).read(names)
    seqs = table["seq"].to_numpy()
    result.files += 1
    result.rows += len(seqs)
    result.bytes += len(data)
    expected = (file.rows, file.first, file.last)
    if not len(seqs) or (len(seqs), seqs[0], seqs[-1]) != expected or (np.diff(seqs) < 0).any():
        result.problems.append(f"{file.path}: its rows are not those that its manifest says")
        return
    problem = counts.add(file.kind, seqs, table)
    if problem:
        result.problems.append(f"{file.path}: {problem}")
