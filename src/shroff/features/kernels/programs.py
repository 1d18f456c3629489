"""Compiled interpreter of small programs: the part of a condition that a kernel must evaluate row by row.

A program is a sequence of operations in an array of words. An operation has four words: its kind, the address of the
register that it writes, and those of the two that it reads. A register has two words: a value, and whether it is
present. Values are as in columns: exact numbers are 64-bit integers, reals the bits of a float, booleans 0 or 1, and
texts codes that are equal if the texts are. Each operation returns the result of `language.row`, to the bit.
"""

from __future__ import annotations

import math

import numpy as np

from shroff.arrays import Ints
from shroff.features.kernels.numbers import Word, bits_of, compiled, float_of, product, rounded
from shroff.features.kernels.operations import (
    AND,
    AT_MOST,
    BELOW,
    ELSE,
    EQUAL,
    GREATEST,
    IS_MISSING,
    LEAST,
    LEFT,
    MINUS,
    MISSING,
    NOT,
    OPERATION_WORDS,
    OR,
    OUTSIDE,
    PLUS,
    REAL_AT_MOST,
    REAL_BELOW,
    REAL_EQUAL,
    REAL_GREATEST,
    REAL_LEAST,
    REAL_MINUS,
    REAL_PLUS,
    REAL_ROOT,
    REAL_SIZE,
    REAL_TIMES,
    REAL_UNEQUAL,
    REALS,
    RIGHT,
    SIZE,
    TARGET,
    THERE,
    TIMES,
    TO_REAL,
    UNEQUAL,
    WHAT,
)

_WORD_BELOW = 2.0**-64
_FLOAT_EXACT = 1 << 53


@compiled
def evaluate(words: Ints, at: Word, count: Word) -> Word:
    """Execute `count` operations from `at`; False if a result does not fit 64 bits."""
    end = at + count * OPERATION_WORDS
    while at < end:
        what = words[at + WHAT]
        target, left, right = words[at + TARGET], words[at + LEFT], words[at + RIGHT]
        if what < EQUAL:
            truth(words, what, target, left, right)
        elif words[left + 1] != THERE or words[right + 1] != THERE:
            words[target] = 0
            words[target + 1] = MISSING
        elif what < REALS:
            words[target + 1] = exact(words, what, target, words[left], words[right])
            if words[target + 1] == OUTSIDE:
                return False
        else:
            words[target + 1] = real(words, what, target, float_of(words[left]), float_of(words[right]))
            if words[target + 1] == MISSING:
                words[target] = 0
        at += OPERATION_WORDS
    return True


@compiled
def truth(words: Ints, what: Word, target: Word, left: Word, right: Word) -> None:
    """Execute an operation of three-valued logic, or a selection by missing values."""
    a: Word = words[left]
    b: Word = words[right]
    has_a: Word = words[left + 1]
    has_b: Word = words[right + 1]
    value: Word = np.int64(0)
    there: Word = np.int64(THERE)
    if what == AND:
        value = a & b & has_a & has_b
        if not ((has_a != 0 and a == 0) or (has_b != 0 and b == 0)):
            there = has_a & has_b
    elif what == OR:
        value = (a & has_a) | (b & has_b)
        if value == 0:
            there = has_a & has_b
    elif what == NOT:
        value, there = (1 - a) & has_a, has_a
    elif what == IS_MISSING:
        value = 1 - has_a
    elif what == ELSE:
        value, there = (a, has_a) if has_a != 0 else (b, has_b)
    elif has_b != 0 and b != 0:
        value, there = a, has_a
    else:
        there = np.int64(MISSING)
    words[target], words[target + 1] = value, there


@compiled
def exact(words: Ints, what: Word, target: Word, a: Word, b: Word) -> Word:
    """Execute an operation of two exact numbers; return THERE, MISSING, or OUTSIDE if the result exceeds 64 bits."""
    value = np.int64(0)
    if what == EQUAL:
        value = np.int64(a == b)
    elif what == UNEQUAL:
        value = np.int64(a != b)
    elif what == BELOW:
        value = np.int64(a < b)
    elif what == AT_MOST:
        value = np.int64(a <= b)
    elif what == LEAST:
        value = min(a, b)
    elif what == GREATEST:
        value = max(a, b)
    elif what == PLUS:
        value = a + b
        if ((a ^ value) & (b ^ value)) < 0:
            return OUTSIDE
    elif what == MINUS:
        value = a - b
        if ((a ^ b) & (a ^ value)) < 0:
            return OUTSIDE
    elif what == TIMES:
        high, low = product(np.uint64(abs(a)), np.uint64(abs(b)))
        value = a * b
        if high != np.uint64(0) or (low >> np.uint64(63) != np.uint64(0) and value != np.int64(low)):
            return OUTSIDE
        if value != 0 and (value < 0) != ((a < 0) != (b < 0)):
            return OUTSIDE
    elif what == SIZE:
        value = abs(a)
        if value < 0:
            return OUTSIDE
    elif what == TO_REAL:
        value = bits_of(in_whole_units(a, b))
    else:
        if b == 0:
            words[target] = 0
            return MISSING
        value = bits_of(np.float64(a) / np.float64(b) + 0.0)
    words[target] = value
    return THERE


@compiled
def real(words: Ints, what: Word, target: Word, a: Word, b: Word) -> Word:
    """Execute an operation of two reals; return THERE or MISSING."""
    result = 0.0
    if what <= REAL_AT_MOST:
        if what == REAL_EQUAL:
            words[target] = np.int64(a == b)
        elif what == REAL_UNEQUAL:
            words[target] = np.int64(a != b)
        elif what == REAL_BELOW:
            words[target] = np.int64(a < b)
        else:
            words[target] = np.int64(a <= b)
        return THERE
    if what == REAL_LEAST:
        result = min(a, b)
    elif what == REAL_GREATEST:
        result = max(a, b)
    elif what == REAL_PLUS:
        result = a + b + 0.0
    elif what == REAL_MINUS:
        result = a - b + 0.0
    elif what == REAL_TIMES:
        result = a * b + 0.0
    elif what == REAL_SIZE:
        result = abs(a)
    elif what == REAL_ROOT:
        if a < 0.0:
            return MISSING
        result = math.sqrt(a)
    else:
        if b == 0.0:
            return MISSING
        result = a / b + 0.0
    words[target] = bits_of(result)
    return np.int64(math.isfinite(result))


@compiled
def in_whole_units(units: Word, scale: Word) -> Word:
    """Return the float nearest to units / scale, rounded once; scale is a power of ten up to 10^12."""
    if -_FLOAT_EXACT <= units <= _FLOAT_EXACT:
        return np.float64(units) / np.float64(scale)
    size = np.uint64(abs(units))
    divisor = np.uint64(scale)
    whole = size // divisor
    rest = size % divisor
    part = np.uint64(0)
    for _ in range(64):
        rest = rest << np.uint64(1)
        part = part << np.uint64(1)
        if rest >= divisor:
            rest = rest - divisor
            part = part | np.uint64(1)
    # The last bit is far below the rounded ones, so it only marks that a remainder is left.
    if rest != np.uint64(0):
        part = part | np.uint64(1)
    nearest = rounded(np.uint64(0), whole, part) * _WORD_BELOW
    return -nearest if units < 0 else nearest
