"""The law of programs: what a kernel makes of an expression is what the one-row evaluator makes of it, to the bit."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.features import value_bounds
from shroff.features.frames import Codes
from shroff.features.kernels import operations
from shroff.features.kernels import programs as kernel_program
from shroff.features.kernels.native import _njit
from shroff.features.kernels.numbers import settle
from shroff.features.kernels.operations import MISSING, OUTSIDE, THERE
from shroff.features.programs import compiler as program_compiler
from shroff.features.programs.compiler import NoProgramError, compile_program, surely_fits
from shroff.features.value_bounds import field_bounds
from shroff.language import expression as nodes
from shroff.language.expression import Node, walk
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, Type
from shroff.language.values import Value
from tests.laws.expressions import REFERENCE, SEEDS, Row, rows_of, some_texts, texts, typed
from tests.laws.test_evaluators import exactly, one_by_one
from tests.support.effort import examples, long_after

LEAVES = (nodes.ThisField, nodes.FeatureValue, nodes.RowValue, nodes.Score, nodes.Lookup, nodes.InList)
CALLS = ("min", "max", "abs", "sqrt")


# By the program's own way: numba makes all code of a process for the processor that it is told before its first code.
@_njit()
@settle
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


def is_known(node: Node) -> bool:
    """Whatever is known without the features, calculations too."""
    is_constant = isinstance(node, nodes.Literal) and not node.type.is_text
    return is_operand(node) or not (is_constant or any(isinstance(item, nodes.FeatureValue) for item in walk(node)))


def by_program(
    node: Node, rows: Sequence[Row], is_operand: Callable[[Node], bool] = is_operand
) -> list[tuple[bool, Value]]:
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


@settings(max_examples=examples(400, usual=25))
@given(texts(), SEEDS)
def test_a_program_gives_what_a_row_gives_or_says_that_it_cannot(text, seed):
    hold_equal(text, rows_of(seed))


@settings(max_examples=examples(200, usual=25))
@given(texts(), SEEDS, st.sampled_from([is_operand, is_known]))
def test_what_surely_fits_always_has_an_answer(text, seed, of_operands):
    hold_fitting(text, rows_of(seed), of_operands)


def hold_fitting(text: str, rows: Sequence[Row], of_operands: Callable[[Node], bool]) -> bool:
    """Whether the expression surely fits. Raises AssertionError where it does, and has no answer all the same."""
    node = typed(text)
    if not surely_fits(node, of_operands, field_bounds):
        return False
    with suppress(NoProgramError):
        assert all(fits for fits, _ in by_program(node, rows, of_operands)), text
    return True


LEAST = rows_of(0)[0] | {"this.points": INTEGER_MIN, "card.count": INTEGER_MIN, "this.wait": INTEGER_MIN, "this.at": 0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("this.points > card.count", True),
        ("-this.points > card.count", False),
        ("abs(this.points) > card.count", False),
        ("0 - this.points > card.count", False),
        ("min(-this.points, 7) > card.count", False),
        ("(-this.points when this.ok else 1) > card.count", False),
        ("(-this.points else 1) in [1, card.count]", False),
        ("this.points * -1 > card.count", False),
        ("-1 - this.points > card.count", True),
        ("-abs(this.amount) > card.spent", True),
        ("this.wait * 1 == this.at - this.at", True),
    ],
)
@pytest.mark.parametrize("of_operands", [is_operand, is_known])
def test_the_least_integer_has_no_size_that_fits(text, expected, of_operands):
    assert hold_fitting(text, [LEAST], of_operands) == expected


def test_most_rows_of_made_up_expressions_are_answered_by_programs():
    answered = [hold_equal(text, rows_of(seed)) for seed, text in enumerate(some_texts(200, depth=2))]

    assert sum(answered) > 0.8 * 40 * len(answered)


def test_every_operation_is_compiled_from_some_expression():
    not_operations = {"WHAT", "TARGET", "LEFT", "RIGHT", "REALS", "MISSING", "THERE", "OUTSIDE"}
    names = [name for name in vars(operations) if name.isupper() and not name.endswith("_WORDS")]
    wanted = {getattr(operations, name) for name in names if name not in not_operations}
    found = {what for what, *_ in compile_program(typed("this.ratio != this.speed"), is_operand)[0].operations}

    for text in some_texts(1_500):
        with suppress(NoProgramError):
            program, _ = compile_program(typed(text), is_operand)
            found.update(what for what, *_ in program.operations)
        if wanted <= found:
            break

    assert wanted <= found


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


@pytest.mark.parametrize("broken", long_after(2, [pytest.param(broken, id=name) for name, broken in BREAKS.items()]))
def test_a_compiler_broken_on_purpose_is_caught(broken, monkeypatch):
    module, name, replacement = broken
    monkeypatch.setattr(module, name, replacement)

    def the_law():
        for seed, text in enumerate(some_texts(3_000, depth=2)):
            hold_equal(text, rows_of(seed))

    with pytest.raises(AssertionError):
        the_law()


@pytest.mark.parametrize(
    "kind, bounds",
    long_after(1, [("integer", (-INTEGER_MAX, INTEGER_MAX)), ("money", (-100, 100)), ("duration", (0, 1))]),
)
def test_bounds_that_are_too_narrow_are_caught(kind, bounds, monkeypatch):
    monkeypatch.setitem(value_bounds._KINDS, kind, bounds)

    def the_law():
        for seed, text in enumerate(some_texts(3_000, depth=2)):
            hold_fitting(text, rows_of(seed), is_operand if seed % 2 else is_known)

    with pytest.raises(AssertionError):
        the_law()


def test_lists_and_tables_are_operands():
    program, operands = compile_program(typed("this.name in lists.blocked and this.points > 1"), is_operand)

    assert len(operands) == 2
    assert program.operands == 2
    assert REFERENCE.lists
