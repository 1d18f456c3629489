"""A training set assembled from its tables piece by piece, so that no value is in memory twice.

What a model reads is nearly all of a set, 8 bytes per value. Above `HELD_BYTES` it lies in a file, from which learners
read the rows that they need.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shroff.arrays import Array, Bools, Floats, Ints, Ints32
from shroff.errors import StorageError
from shroff.models.columns import CATEGORY
from shroff.models.learners.column_files import ColumnsFile, Values
from shroff.models.sets import Input, Labels, RecordedDecisions, Texts, TrainingSet
from shroff.project.policy import OUTCOMES

if TYPE_CHECKING:
    import pyarrow as pa

    from shroff.training.sets.rows import SetShape

HELD_BYTES = 1 << 30  # that the inputs of a set may take in memory
SLICE = "by "  # prefix of the name of a slice's column
_NONE = -1
_OUTCOMES = {text: code for code, text in enumerate(OUTCOMES)}


def gathered(
    shape: SetShape, tables: Iterable[pa.Table], count: int, labels: Labels, folder: Path | None
) -> TrainingSet:
    """Assemble a set from tables that follow each other.

    Args:
        count: Rows of all tables.
        folder: Folder for the file of inputs; by default the system's temporary one.

    Raises: StorageError if there is no room for that file.
    Memory: inputs up to `HELD_BYTES`, and per row some 50 bytes, its id included, and 8 for each slice.
    """
    import pyarrow as pa

    numbers = {name: np.empty(count, np.int64) for name in ("seq", "time", "key", "amount_minor")}
    slices = {name: _CodedTexts(np.empty(count, np.int32)) for name in shape.slices}
    recorded = _Recorded(count)
    inputs = _Inputs(shape.inputs, count, folder)
    ids = []
    first = 0
    for table in tables:
        rows = slice(first, first + len(table))
        first = rows.stop
        ids += table["id"].chunks
        for name, numbers_of_column in numbers.items():
            numbers_of_column[rows] = table[name].cast("int64").fill_null(_NONE).to_numpy()
        for name, coded in slices.items():
            coded.put(rows, table[SLICE + name])
        recorded.put(rows, table)
        inputs.put(rows, table)
    assert first == count, "tables have the rows of the set"
    return TrainingSet(
        shape.event,
        shape.as_of_ms,
        Texts(pa.chunked_array(ids, pa.string())),
        numbers["seq"],
        numbers["time"],
        numbers["key"],
        numbers["amount_minor"],
        tuple(inputs.all()),
        labels,
        recorded.all(),
        {name: coded.texts() for name, coded in slices.items()},
    )


class _Inputs:
    """Columns that a model reads, in memory or in a file; texts as codes."""

    def __init__(self, inputs: Sequence[tuple[str, str]], count: int, folder: Path | None) -> None:
        self._inputs = inputs
        self._count = count
        self._text_codes: dict[str, dict[str, int]] = {name: {} for name, kind in inputs if kind == CATEGORY}
        is_held = count * len(inputs) * 8 <= HELD_BYTES
        self._held = [np.empty(count) for _ in inputs] if is_held else None
        self._file = None if is_held else ColumnsFile(folder, count)

    def put(self, rows: slice, table: pa.Table) -> None:
        for number, (name, kind) in enumerate(self._inputs):
            column = table[name]
            values = (
                _text_codes(column, self._text_codes[name]).astype(np.float64) if kind == CATEGORY else _floats(column)
            )
            if self._held is not None:
                self._held[number][rows] = values
            elif self._file is not None:
                try:
                    self._file.write(number, rows.start, values)
                except OSError as error:
                    message = f"there is no room for a training set of {self._count:,} rows"
                    raise StorageError(f"{message}: {error.strerror or error}; make room where it is made") from None

    def all(self) -> list[Input]:
        return [self._input(number, name, kind) for number, (name, kind) in enumerate(self._inputs)]

    def _input(self, number: int, name: str, kind: str) -> Input:
        if kind != CATEGORY:
            return Input(name, kind, self._values(number, None))
        texts = self._text_codes[name]
        categories = tuple(sorted(texts))
        sorted_index = {text: index for index, text in enumerate(categories)}
        return Input(
            name, kind, self._values(number, np.array([*(sorted_index[text] for text in texts), np.nan])), categories
        )

    def _values(self, number: int, places: Floats | None) -> Values:
        if self._file is not None:
            return self._file.column(number, places)
        assert self._held is not None
        if places is not None:
            self._held[number] = places[self._held[number].astype(np.int64)]
        return self._held[number]


class _Recorded:
    def __init__(self, count: int) -> None:
        self._outcomes = np.empty(count, np.int8)
        self._scores = np.empty(count)
        self._hits: dict[str, Bools] = {}

    def put(self, rows: slice, table: pa.Table) -> None:
        self._outcomes[rows] = _text_codes(table["outcome"], _OUTCOMES)
        self._scores[rows] = _floats(table["score"])
        lists = table["rules"].combine_chunks()
        coded = lists.flatten().dictionary_encode()
        hit = coded.indices.to_numpy()
        row_of_hit = lists.value_parent_indices().to_numpy()
        for code, rule in enumerate(coded.dictionary.to_pylist()):
            flags = self._hits.setdefault(rule, np.zeros(len(self._scores), np.bool_))
            flags[rows][row_of_hit[hit == code]] = True

    def all(self) -> RecordedDecisions:
        return RecordedDecisions(self._outcomes, self._scores, dict(sorted(self._hits.items())))


class _CodedTexts:
    """A column of texts as codes in order of appearance; rows with equal texts share one object."""

    def __init__(self, codes: Ints32) -> None:
        self._text_codes = codes
        self._texts: dict[str, int] = {}

    def put(self, rows: slice, column: pa.ChunkedArray) -> None:
        self._text_codes[rows] = _text_codes(column, self._texts)

    def texts(self) -> Array:
        rows: Array = np.array([*self._texts, None], object)[self._text_codes]
        return rows


def _text_codes(column: pa.ChunkedArray, code_of_text: dict[str, int]) -> Ints:
    coded = column.combine_chunks().dictionary_encode()
    dictionary_codes = [code_of_text.setdefault(text, len(code_of_text)) for text in coded.dictionary.to_pylist()]
    row_codes: Ints = np.array([*dictionary_codes, _NONE], np.int64)[
        coded.indices.fill_null(len(dictionary_codes)).to_numpy()
    ]
    return row_codes


def _floats(column: pa.ChunkedArray) -> Floats:
    numbers: Floats = column.to_numpy()
    return numbers
