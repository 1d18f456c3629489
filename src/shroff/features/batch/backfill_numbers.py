"""The arithmetic of the back-fill's kernels that need not be general; compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.features.kernels.numbers import Word, compiled, float_of, high_product, intrinsic_of


def _leading_zeros(typing_context: Any, value: Any) -> Any:
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        truth = context.get_value_type(types.boolean)
        return builder.ctlz(arguments[0], truth(0))

    return types.uint64(types.uint64), generate


# Zeros before the first one of a word's bits; 64 for zero.
leading_zeros = intrinsic_of(_leading_zeros)


@compiled
def rounded_pair(high: Word, low: Word) -> Word:
    """The float nearest to a number of 128 bits, half to even."""
    one, all_bits = np.uint64(1), np.uint64(63)
    if high == np.uint64(0):
        return np.float64(low)
    shift = leading_zeros(high)
    # The rest below the top 64 bits can only decide a tie: one bit says that it is there.
    top = (high << shift) | ((low >> one) >> (all_bits - shift))
    top = top | np.uint64((low << shift) != np.uint64(0))
    return np.float64(top) * float_of(np.int64(1023 + 64 - np.int64(shift)) << 52)


@compiled
def narrow_spread(n: Word, squares: Word, total: Word) -> Word:
    """float(n * squares - total**2), where the sum of squares fits a word and the sum a signed one."""
    # All unsigned: where signed and unsigned words meet, the compiler makes floats of them.
    count, squares_low, sum_low = np.uint64(n), np.uint64(squares), np.uint64(abs(total))
    low = count * squares_low
    taken = sum_low * sum_low
    high = high_product(count, squares_low) - high_product(sum_low, sum_low) - np.uint64(low < taken)
    return rounded_pair(high, low - taken)


@compiled
def pairs_of(n: Word, scale: Word) -> Word:
    """float(n * (n - 1) * scale**2); all steps but the last stay below 2^63, the last has 128 bits."""
    pairs = np.uint64(n) * np.uint64(n - 1)
    factor = np.uint64(scale) * np.uint64(scale)
    return rounded_pair(high_product(pairs, factor), pairs * factor)
