"""The law of programs: what a kernel makes of an expression is what the one-row evaluator makes of it, to the bit."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from numba import njit

from shroff.features import kernel_operations as operations
from shroff.features import kernel_program, program_compiler
from shroff.features.frames import Codes
from shroff.features.kernel_operations import MISSING, OUTSIDE, THERE
from shroff.features.program_compiler import NoProgramError, compile_program, field_size, surely_fits
from shroff.language import expression as nodes
from shroff.language.expression import Node
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, Type
from shroff.language.values import Value
from tests.laws.expressions import REFERENCE, SEEDS, Row, rows_of, texts, typed
from tests.laws.test_evaluators import exactly, one_by_one

LEAVES = (nodes.ThisField, nodes.FeatureValue, nodes.RowValue, nodes.Score, nodes.Lookup, nodes.InList)
CALLS = ("min", "max", "abs", "sqrt")


@njit
def carry_out(words, at, count):
    return kernel_program.evaluate(words, at, count)


def is_operand(node: Node) -> bool:
    """Leaves, and whatever has no operation of its own."""
    is_text = isinstance(node, nodes.Literal) and node.type.is_text
    return is_text or isinstance(node, LEAVES) or (isinstance(node, nodes.Call) and node.function not in CALLS)


def word_of(value: Value, codes: Codes) -> tuple[int, int]:
    if value is None:
        return 0, MISSING
    if isinstance(value, str):
        return codes.add(value), THERE
    if isinstance(value, float):
        return struct.unpack("<q", struct.pack("<d", value))[0], THERE
    return (int(value), THERE) if INTEGER_MIN <= value <= INTEGER_MAX else (0, OUTSIDE)


def value_of(word: int, there: int, type_: Type, codes: Codes) -> Value:
    if there == MISSING:
        return None
    if type_.is_text:
        return codes.values[word]
    if type_.kind == "real":
        return struct.unpack("<d", struct.pack("<q", word))[0]
    return bool(word) if type_.kind == "boolean" else word


def by_program(node: Node, rows: Sequence[Row]) -> list[tuple[bool, Value]]:
    """For each row whether the program has an answer, and which."""
    program, operands = compile_program(node, is_operand)
    columns = [one_by_one(operand, rows) for operand in operands]
    codes, found = Codes(), []
    for at in range(len(rows)):
        words = np.array(program.words(7), np.int64)
        array = np.concatenate([np.zeros(7, np.int64), words])
        given = [word_of(column[at], codes) for column in columns]
        for number, (word, there) in enumerate(given):
            array[program.register_at(7, number) : program.register_at(7, number) + 2] = word, there
        fits = all(there != OUTSIDE for _, there in given)
        fits = fits and bool(carry_out(array, program.operations_at(7), len(program.operations)))
        place = program.register_at(7, program.result)
        found.append((fits, value_of(int(array[place]), int(array[place + 1]), node.type, codes) if fits else None))
    return found


def hold_equal(text: str, rows: Sequence[Row]) -> int:
    """Raises AssertionError where an answer is wrong; gives how many rows the program answered."""
    node = typed(text)
    try:
        answers = by_program(node, rows)
    except NoProgramError:
        return 0
    for values, single, (fits, together) in zip(rows, one_by_one(node, rows), answers, strict=True):
        assert not fits or exactly(together) == exactly(single), f"{text[:500]} of {str(values)[:2_000]}"
    return sum(fits for fits, _ in answers)


@settings(max_examples=max(400, settings.default.max_examples))
@given(texts(), SEEDS)
def test_a_program_gives_what_a_row_gives_or_says_that_it_cannot(text, seed):
    hold_equal(text, rows_of(seed))


@settings(max_examples=max(200, settings.default.max_examples))
@given(texts(), SEEDS)
def test_what_surely_fits_always_has_an_answer(text, seed):
    node, rows = typed(text), rows_of(seed)
    if not surely_fits(node, is_operand, field_size):
        return
    try:
        answers = by_program(node, rows)
    except NoProgramError:
        return

    assert all(fits for fits, _ in answers), text


def test_most_rows_of_made_up_expressions_are_answered_by_programs():
    answered = []

    @settings(max_examples=200, derandomize=True, database=None, phases=[Phase.generate])
    @given(texts(2), SEEDS)
    def count(text, seed):
        answered.append(hold_equal(text, rows_of(seed)))

    count()

    assert sum(answered) > 0.8 * 40 * len(answered)


def test_every_operation_is_compiled_from_some_expression():
    found: set[int] = set()

    @settings(max_examples=1_500, derandomize=True, database=None, phases=[Phase.generate])
    @given(texts())
    def collect(text):
        try:
            program, _ = compile_program(typed(text), is_operand)
        except NoProgramError:
            return
        found.update(what for what, *_ in program.operations)

    collect()
    found.update(what for what, *_ in compile_program(typed("this.ratio != this.speed"), is_operand)[0].operations)
    not_operations = {"WHAT", "TARGET", "LEFT", "RIGHT", "REALS", "MISSING", "THERE", "OUTSIDE"}
    names = [name for name in vars(operations) if name.isupper() and not name.endswith("_WORDS")]

    assert {getattr(operations, name) for name in names if name not in not_operations} <= found


EDGES = [0, 1, -1, 2, 3, 2**31, -(2**31), 2**32 + 1, 2**53 + 1, 3_037_000_500, -3_037_000_500, 2**62, -(2**62)]
EDGES += [INTEGER_MAX, INTEGER_MIN, INTEGER_MAX - 1, INTEGER_MIN + 1]


@pytest.mark.parametrize("operator", ["+", "-", "*"])
def test_an_operation_knows_at_the_edges_whether_its_result_fits_64_bits(operator):
    rows = [{"this.points": a, "card.count": b, "this.at": 0} for a in EDGES for b in EDGES]
    node = typed(f"this.points {operator} card.count")

    for single, (fits, together) in zip(one_by_one(node, rows), by_program(node, rows), strict=True):
        assert fits == (INTEGER_MIN <= single <= INTEGER_MAX)
        assert not fits or together == single


BREAKS = {
    "at_most_is_below": (program_compiler, "_COMPARE", program_compiler._COMPARE | {"<=": operations.BELOW}),
    "and_is_or": (program_compiler, "_LOGIC", {"and": operations.OR, "or": operations.OR}),
    "least_is_greatest": (program_compiler, "_CALLS", program_compiler._CALLS | {"min": operations.GREATEST}),
    "reals_as_words": (program_compiler, "_OF_REALS", 0),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS)
def test_a_compiler_broken_on_purpose_is_caught(broken, monkeypatch):
    module, name, replacement = broken
    monkeypatch.setattr(module, name, replacement)

    @settings(max_examples=3_000, derandomize=True, database=None, print_blob=False, phases=[Phase.generate])
    @given(texts(2), SEEDS)
    def the_law(text, seed):
        hold_equal(text, rows_of(seed))

    with pytest.raises(AssertionError):
        the_law()


def test_lists_and_tables_are_operands():
    program, operands = compile_program(typed("this.name in lists.blocked and this.points > 1"), is_operand)

    assert len(operands) == 2
    assert program.operands == 2
    assert REFERENCE.lists
