"""Compiled arithmetic of integers wider than a machine word, for sums, sums of squares and standard deviations.

A number of 192 bits is three unsigned words, the highest first. The result is converted to a float once, at the end,
rounded half to even, as by Python's `float(int)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np

# A machine integer, float or boolean; the signature of a kernel has its exact type.
Word: TypeAlias = Any
Kernel = TypeVar("Kernel", bound=Callable[..., Any])
DIGEST_LENGTH = 16
VECTOR_BYTES = 32
# Files, below the package, whose content is part of all kernels. A kernel in another file adds that file.
KERNEL_FILES = (
    "features/kernels/*.py",
    "features/batch/backfill*.py",
    "models/trees/*.py",
    "engine/kernels/*.py",
    "log/columns/*kernel.py",
    "events/formats/lines.py",  # the limit of a line
    "events/event.py",  # the years of times
)


# Kernels allocate nothing, so numba need not count references, whose locked instructions took two thirds of the time.
# Divisions are not checked for zero, as no kernel divides by it.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}


class Later:
    """A numba function that is compiled at first use: importing numba takes half a second."""

    def __init__(self, make: Callable[[Any], Any], function: Callable[..., Any]) -> None:
        self._make, self._function = make, function
        self._made: Any = None

    def made(self) -> Any:
        """Return the numba function, compiled at the first call, together with the functions that it calls."""
        if self._made is None:
            self._made = self._make(self._function)
            settle(self._function)
        return self._made

    def __call__(self, *arguments: Any) -> Any:
        return self.made()(*arguments)


def settle(function: Kernel) -> Kernel:
    """Replace each `Later` among the globals and cells of a function by its numba function; return the function."""
    assert isinstance(function, FunctionType)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, Later):
            function.__globals__[name] = value.made()
        elif isinstance(value, ModuleType) and value.__name__.startswith("shroff."):
            for inner, member in list(vars(value).items()):
                if isinstance(member, Later):
                    setattr(value, inner, member.made())
    for cell in function.__closure__ or ():
        if isinstance(cell.cell_contents, Later):
            cell.cell_contents = cell.cell_contents.made()
    return function


def _names(code: CodeType) -> set[str]:
    inside = [co_const for co_const in code.co_consts if isinstance(co_const, CodeType)]
    return {*code.co_names, *(name for part in inside for name in _names(part))}


def compiled(function: Kernel) -> Kernel:
    """Compile a part of a kernel; it is stored on disk only inside its callers."""

    def make(function: Callable[..., Any]) -> Any:
        from numba import njit

        return njit(**OPTIONS | {"no_cpython_wrapper": True})(function)

    return cast("Kernel", Later(make, function))


def intrinsic_of(function: Callable[..., Any]) -> Later:
    """Return an intrinsic of numba, which is created at first use (see `numba.extending.intrinsic`)."""

    def make(function: Callable[..., Any]) -> Any:
        from numba.extending import intrinsic

        return intrinsic(function)

    return Later(make, function)


def vector_at(context: Any, builder: Any, signature: Any, arguments: Any, array: int) -> Any:
    """Return the pointer to a vector in argument `array`, at the offset in the next argument."""
    from llvmlite import ir

    made = context.make_array(signature.args[array])(context, builder, arguments[array])
    vector = ir.VectorType(ir.IntType(8), VECTOR_BYTES)
    return builder.bitcast(builder.gep(made.data, [arguments[array + 1]]), vector.as_pointer())


def vector_in(*at: Any) -> Any:
    """Load a vector as `vector_at` locates it, aligned or not."""
    read = at[1].load(vector_at(*at))
    read.align = 1
    return read


def first_of(builder: Any, bits: Any) -> Any:
    """Return the number of bits before the first set bit; the number of all bits if none is set."""
    from llvmlite import ir

    return builder.zext(builder.cttz(bits, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))


@cache
def digest_of_kernels() -> str:
    """Return the digest of all files of kernels; stored machine code with another digest is stale."""
    package = Path(__file__).parents[2]
    files = [file for pattern in KERNEL_FILES for file in sorted(package.glob(pattern))]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:DIGEST_LENGTH]


def _bits_of(typing_context: Any, value: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), generate


# The 64 bits of a float as an integer.
bits_of = intrinsic_of(_bits_of)


def _float_of(typing_context: Any, value: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), generate


# The float of 64 bits.
float_of = intrinsic_of(_float_of)


def _high_product_of(typing_context: Any, a: Any, b: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        both = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(both, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


# The upper 64 of the 128 bits of a * b, both unsigned.
high_product = intrinsic_of(_high_product_of)


def _fetch(typing_context: Any, array: Any, at: Any) -> Any:
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        place = builder.bitcast(vector_at(context, builder, signature, arguments, 0), byte)
        to_read, into_all_caches, of_data = (ir.Constant(number, word) for word in (0, 3, 1))
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", [byte], kind), [place, to_read, into_all_caches, of_data]
        )
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


# Prefetch an item of an array into the caches; any index is allowed.
fetch = intrinsic_of(_fetch)


@compiled
def product(a: Word, b: Word) -> tuple[Word, Word]:
    """Return the 128 bits of a * b: (high, low)."""
    return high_product(a, b), a * b


@compiled
def times(high: Word, middle: Word, low: Word, x: Word) -> tuple[Word, Word, Word]:
    """Return the 192 low bits of a number times a word."""
    carry, new_low = product(low, x)
    up, new_middle = product(middle, x)
    new_middle = new_middle + carry
    new_high = high * x + up + np.uint64(new_middle < carry)
    return new_high, new_middle, new_low


@compiled
def rounded(high: Word, middle: Word, low: Word) -> Word:
    """Return the float nearest to a number of 192 bits, half to even."""
    zero = np.uint64(0)
    if high == zero and middle == zero:
        return np.float64(low)
    exponent = 128
    if high == zero:
        high, middle, low, exponent = middle, low, zero, 64
    shift = 0
    while high >> np.uint64(63) == zero:
        step = 1
        for wide in (32, 16, 8, 4, 2):
            if high >> np.uint64(64 - wide) == zero:
                step = wide
                break
        high = (high << np.uint64(step)) | (middle >> np.uint64(64 - step))
        middle = (middle << np.uint64(step)) | (low >> np.uint64(64 - step))
        low = low << np.uint64(step)
        shift += step
    # The bits below the top 64 can only decide a tie, so one bit stands for them.
    if middle != zero or low != zero:
        high = high | np.uint64(1)
    return np.float64(high) * float_of(np.int64(1023 + exponent - shift) << 52)  # a power of two: nothing is rounded


@compiled
def scaled(n: Word, scale: Word) -> Word:
    """Return float(n * scale), rounded once."""
    high, low = product(np.uint64(n), np.uint64(scale))
    return rounded(np.uint64(0), high, low)


@compiled
def spread(n: Word, squares_high: Word, squares_low: Word, sum_high: Word, sum_low: Word, scale: Word) -> Word:
    """Return the sample standard deviation of n >= 2 values from their exact sum (88 bits) and sum of squares."""
    zero = np.uint64(0)
    low = np.uint64(sum_low)
    high = np.uint64(sum_high)
    if sum_high < 0:
        low = ~low + np.uint64(1)
        high = ~high + np.uint64(low == zero)
    up, middle, bottom = times(zero, np.uint64(squares_high), np.uint64(squares_low), np.uint64(n))
    square_middle, square_bottom = product(low, low)
    square_up = zero
    if high != zero:
        cross_up, cross = product(low, high << np.uint64(1))
        square_middle = square_middle + cross
        square_up = high * high + cross_up + np.uint64(square_middle < cross)
    borrow = np.uint64(bottom < square_bottom)
    rest = middle - square_middle
    up = up - square_up - np.uint64(middle < square_middle) - np.uint64(rest < borrow)
    above = rounded(up, rest - borrow, bottom - square_bottom)
    factor = np.uint64(scale)
    pairs_high, pairs_low = product(np.uint64(n), np.uint64(n - 1))
    under_up, under_middle, under_bottom = times(zero, pairs_high, pairs_low, factor)
    under_up, under_middle, under_bottom = times(under_up, under_middle, under_bottom, factor)
    return math.sqrt(above / rounded(under_up, under_middle, under_bottom))


@compiled
def middle(a: Word, b: Word, scale: Word, is_real: Word) -> Word:
    """Return float(a + b) / float(2 * scale), also if the sum exceeds 64 bits; reals are passed as ordered bits."""
    if is_real:
        return (float_of(in_order(a)) + float_of(in_order(b))) / 2.0
    if a ^ b < 0:
        above = np.float64(a + b)
    else:
        size = np.uint64(abs(a)) + np.uint64(abs(b))
        above = rounded(np.uint64(0), np.uint64(size < np.uint64(abs(a))), size)
        if a < 0:
            above = -above
    return above / scaled(np.int64(2), scale)


@compiled
def in_order(bits: Word) -> Word:
    """Map a float's bits to an integer of the same order, and back: the function is its own inverse."""
    return bits if bits >= 0 else bits ^ 0x7FFFFFFFFFFFFFFF
