"""Rows with known answers, which prove that a model trained elsewhere is read correctly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from shroff.arrays import Floats, count_true
from shroff.errors import UsageError, nearest
from shroff.events.formats.encodings import read_lines
from shroff.events.raw_values import RawDuration
from shroff.models.columns import CATEGORY
from shroff.models.imported import Foreign
from shroff.models.loaded import LoadedModel
from shroff.models.model import LOG_ODDS, NUMBER, InputColumn
from shroff.runtime.values import FrozenStruct

SCORE = "score"
MARGIN = "margin"
# Adjacent single-precision floats near a score of 1 differ by 6e-8, but files often have six digits. Margins have a
# larger range, so theirs is relative.
TOLERANCES = {SCORE: 1e-6, MARGIN: 1e-5}
SNIPPET = 'rows.assign(score=model.predict_proba(rows)[:, 1]).to_csv("rows.csv")'
_MISSING = frozenset(["", "nan", "na", "null", "none"])
_TRUTHS = {"true": 1.0, "false": 0.0}
_SWAPS_INPUTS_MAX = 40  # with more inputs, swapped pairs are not tried
_SWAPS_ROWS = 200


class CheckRows(FrozenStruct):
    """Rows to check with: their places in the file, a column for each input, and the expected answers.

    Args:
        answer: The column of answers in the file: SCORE or MARGIN.
        unknown: Sentences on texts that are no category of their input.
    """

    file: str
    places: tuple[str, ...]
    columns: Floats
    answer: str
    expected: Floats
    unknown: tuple[str, ...] = ()


class CheckedScores(FrozenStruct):
    """Result of the check: number of rows, all reproduced, the largest difference, and cases not covered as
    sentences.
    """

    file: str
    rows: int
    answer: str
    tolerance: float
    worst: float
    remarks: tuple[str, ...]

    def as_manifest(self) -> dict[str, object]:
        manifest = {"file": self.file, "rows": self.rows, "of": self.answer, "tolerance": self.tolerance}
        return {**manifest, "worst": self.worst}


def read_rows(path: Path, columns: Sequence[InputColumn], names: Sequence[str]) -> CheckRows:
    """Read rows of a CSV, JSON lines or Parquet file with a column for each input and `score` or `margin`.

    A text that is no category of its input counts as missing, as it does when events are scored.

    Args:
        columns: The inputs; the file names a column by the input, or by its feature in the model's file.
        names: Names of the features; empty if the model's file has none.

    Raises: UsageError with line and column.
    """
    locations = []
    values = []
    expected = []
    unknown: dict[str, Counter[str]] = {}
    answer = ""
    keys: list[str] = []
    for line in read_lines(path):
        location = f"{path.name}:{line.place}"
        if line.columns is None:
            raise UsageError(f"{location}: {line.error}.")
        if not keys:
            answer, keys = _keys(path, line.columns, columns, names)
        row = [
            _value(line.columns.get(key), column, location, unknown) for key, column in zip(keys, columns, strict=True)
        ]
        expected_answer = _number(line.columns.get(answer), f"{location}: {answer}")
        if not np.isfinite(expected_answer):
            raise UsageError(f"{location}: {answer} is missing; each row needs the model's own answer.")
        locations.append(location)
        values.append(row)
        expected.append(expected_answer)
    if not locations:
        raise UsageError(f"{path.name} has no rows; make some with the model itself: {SNIPPET}.")
    unknown_words = tuple(_unknown_words(column, unknown[column.name]) for column in columns if column.name in unknown)
    return CheckRows(
        path.name, tuple(locations), np.array(values, np.float64).T.copy(), answer, np.array(expected), unknown_words
    )


def _keys(
    path: Path, line: Mapping[str, object], columns: Sequence[InputColumn], names: Sequence[str]
) -> tuple[str, list[str]]:
    answers = [score for score in (SCORE, MARGIN) if score in line]
    if not answers:
        raise UsageError(
            f"{path.name} has no column {SCORE!r} or {MARGIN!r}: the answers of the model itself, such as"
            f" model.predict_proba(rows)[:, 1]."
        )
    keys = []
    for index, column in enumerate(columns):
        feature_name = names[index] if index < len(names) else column.name
        if column.name not in line and feature_name not in line:
            is_name = column.name.replace(".", "").isidentifier()
            missing = column.name if feature_name == column.name else f"{column.name} or {feature_name}"
            if not is_name:
                missing = f"{feature_name}, which has the results of {column.name}"
            expected_name = column.name if is_name else feature_name
            hint = nearest(expected_name, line.keys()) or f"It has {', '.join(list(line)[:8])}."
            raise UsageError(f"{path.name} has no column {missing}. {hint}")
        keys.append(column.name if column.name in line else feature_name)
    return answers[0], keys


def _value(value: object, column: InputColumn, location: str, unknown: dict[str, Counter[str]]) -> float:
    if column.kind != CATEGORY:
        return _number(value, f"{location}: {column.name}")
    if value is None or value == "":
        return np.nan
    text = str(value)
    if text not in column.categories:
        unknown.setdefault(column.name, Counter())[text] += 1
        return np.nan
    return float(column.categories.index(text))


def _unknown_words(column: InputColumn, counts: Counter[str]) -> str:
    text = counts.most_common(1)[0][0]
    rows = counts.total()
    more = f" and {len(counts) - 1:,} more" if len(counts) > 1 else ""
    hint = nearest(text, column.categories) or f"There are {', '.join(column.categories[:8])}."
    many = "row has" if rows == 1 else "rows have"
    return (
        f"{rows:,} {many} a {column.name} that is none of its categories, and counts as missing: {text!r}{more}. {hint}"
    )


def _number(value: object, where: str) -> float:
    if value is None:
        return np.nan
    if isinstance(value, RawDuration):
        return value / 1_000.0
    text = str(value).strip().lower()
    if text in _MISSING:
        return np.nan
    if text in _TRUTHS:
        return _TRUTHS[text]
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{where}: expected a number, found {str(value)[:60]!r}.") from None


def check_rows(
    rows: CheckRows, foreign: Foreign, model: LoadedModel, file: str, *, tolerance: float | None = None
) -> CheckedScores:
    """Check that a model reproduces each row.

    Args:
        tolerance: Largest difference allowed: absolute for a score, relative for a margin above 1.

    Raises: UsageError with the row that is furthest off, the difference, and a possible reason.
    """
    if rows.answer == SCORE and foreign.gives == NUMBER:
        raise UsageError(
            f"{file} gives a number and no probability, so {rows.file} has that number as {MARGIN!r} instead of"
            f" {SCORE!r}."
        )
    allowed = TOLERANCES[rows.answer] if tolerance is None else tolerance
    answers = _answers(rows.columns, rows.answer, foreign, model)
    off = _off(answers, rows)
    wrong = count_true(~(off <= allowed))
    if wrong:
        worst_row = int(np.argmax(np.where(np.isnan(off), np.inf, off)))
        reasons = " ".join([_reason(rows, foreign, model, allowed), *rows.unknown])
        raise UsageError(
            f"{rows.places[worst_row]}: {file} gives the {rows.answer} {answers[worst_row]:.9g} with these inputs, and"
            f" {rows.expected[worst_row]:.9g} was expected: off by {off[worst_row]:.3g}, and {allowed:g} is allowed"
            f" ({wrong:,} of {len(off):,} rows are off). {reasons}"
        )
    return CheckedScores(
        rows.file, len(off), rows.answer, allowed, float(off.max()), (*rows.unknown, *_not_shown(rows, model.inputs))
    )


def _answers(columns: Floats, answer: str, foreign: Foreign, model: LoadedModel) -> Floats:
    margins = model.margins([*columns])
    if answer == MARGIN or foreign.gives != LOG_ODDS:
        return margins
    return 1.0 / (1.0 + np.exp(-margins))


def _off(answers: Floats, rows: CheckRows) -> Floats:
    size = np.maximum(1.0, np.abs(rows.expected)) if rows.answer == MARGIN else 1.0
    return np.asarray(np.abs(answers - rows.expected) / size)


def _reason(rows: CheckRows, foreign: Foreign, model: LoadedModel, allowed: float) -> str:
    """Return a possible reason: two swapped inputs, else the order in which features were read."""
    some = slice(0, _SWAPS_ROWS)
    part = CheckRows(rows.file, rows.places[some], rows.columns[:, some], rows.answer, rows.expected[some])
    names = [input_.name for input_ in model.inputs]
    numbers = [index for index, input_ in enumerate(model.inputs) if input_.kind != CATEGORY]
    for column, other in combinations(numbers if len(names) <= _SWAPS_INPUTS_MAX else [], 2):
        swapped = part.columns.copy()
        swapped[[column, other]] = swapped[[other, column]]
        if np.all(_off(_answers(swapped, part.answer, foreign, model), part) <= allowed):
            return f"They agree with {names[column]} and {names[other]} swapped: fix the order of the inputs."
    order = ", ".join(f"{index} {name}" for index, name in enumerate(names, 1))
    stops = f" {' '.join(foreign.remarks)}" if foreign.remarks else ""
    return f"Its features were taken as {order}; name them with --inputs if they stand otherwise.{stops}"


def _not_shown(rows: CheckRows, columns: Sequence[InputColumn]) -> list[str]:
    """Return a remark on inputs with one value in all rows, which the check does not cover."""
    alike = [
        column.name
        for column, values in zip(columns, rows.columns, strict=True)
        if len({"" if np.isnan(value) else value for value in values.tolist()}) == 1
    ]
    if not alike:
        return []
    verb = "is" if len(alike) == 1 else "are"
    return [f"{', '.join(alike)} {verb} the same in every row of {rows.file}, which so shows nothing of it."]
