"""Floats as JSON in a kernel: the shortest digits that read back as the same float, formatted as in RFC 8785.

The digits are found by the method of R. Giulietti, "The Schubfach way to render doubles" (2020): one product of 128
bits for the float and one for each end of the interval that rounds to it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.arrays import Hashes
from shroff.features.kernels.numbers import Word, compiled, high_product

_POWER_MIN, _POWER_MAX = -292, 324
_FRACTION_BITS = 52
_BIAS = 1_075
_PLAIN_MAX = 21  # digits before the point; more are written with an exponent
_ZEROS_TOO_MANY = 6  # zeros after the point that need an exponent
_MINUS = 0x2D
_POINT = 0x2E
_ZERO = 0x30
_E = 0x65
_NULL = np.frombuffer(b"null", np.uint8)
_PLUS = 0x2B


def _powers() -> Hashes:
    """Return the upper 128 bits of the powers of ten, as two words each, rounded up."""
    found = []
    for power in range(_POWER_MIN, _POWER_MAX + 1):
        shift = 127 - (power * 1_741_647 >> 19)  # 1_741_647 / 2**19 is log2(10)
        above, below = 10 ** max(power, 0) << max(shift, 0), 10 ** max(-power, 0) << max(-shift, 0)
        both = -(-above // below)
        found.append((both >> 64, both & 2**64 - 1))
    return np.array(found, np.uint64)


_POWERS = _powers()
_TENS = np.array([10**power for power in range(20)], np.uint64)
_PAIRS = np.frombuffer(b"".join(b"%02d" % pair for pair in range(100)), np.uint8)


@compiled
def length_of(value: Word) -> Word:
    """Return the number of digits of an unsigned number."""
    length = 1
    while length < len(_TENS) and value >= _TENS[length]:
        length += 1
    return length


@compiled
def write_digits(out: Any, at: Word, value: Word, length: Word) -> Word:
    """Write exactly `length` digits of an unsigned number, with leading zeros; return the end."""
    place = at + length
    hundred = np.uint64(100)
    while place > at + 1:
        rest = value // hundred
        pair = np.int64(value - rest * hundred)
        value = rest
        place -= 2
        out[place] = _PAIRS[2 * pair]
        out[place + 1] = _PAIRS[2 * pair + 1]
    if place > at:
        out[at] = _ZERO + np.int64(value)
    return at + length


@compiled
def _odd_product(high: Word, low: Word, value: Word) -> Word:
    """Return the upper 64 bits of a 128-bit number times `value`, the last one set if the product is inexact.

    A remainder of 1 in the next word is ignored, as powers are rounded up.
    """
    carried = high * value
    middle = carried + high_product(low, value)
    top = high_product(high, value) + np.uint64(middle < carried)
    return top | np.uint64(middle > np.uint64(1))


@compiled
def _shortest(bits: Word) -> tuple[Word, Word]:
    """Return digits and power of ten of a positive float: the shortest that read back as it, of these the nearest."""
    one, two, four, ten = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(10)
    fraction = bits & np.uint64((1 << _FRACTION_BITS) - 1)
    exponent: Word = np.int64(bits >> np.uint64(_FRACTION_BITS))
    if exponent != 0:
        significand = fraction | np.uint64(1 << _FRACTION_BITS)
        power = exponent - _BIAS
        if -_FRACTION_BITS <= power <= 0:
            whole = significand >> np.uint64(-power)
            if whole << np.uint64(-power) == significand:
                return whole, 0
    else:
        significand = fraction
        power = 1 - _BIAS
    # Just above a power of two the float below is nearer than that above.
    is_nearer_below = fraction == 0 and exponent > 1
    # 1_262_611 / 2**22 is log10(2), 524_031 / 2**22 is log10(4/3).
    tenth = (power * 1_262_611 - (524_031 if is_nearer_below else 0)) >> 22
    shift = np.uint64(power + ((-tenth * 1_741_647) >> 19) + 1)
    high, low = _POWERS[-tenth - _POWER_MIN, 0], _POWERS[-tenth - _POWER_MIN, 1]
    quarter = significand << two
    below = _odd_product(high, low, (quarter - (one if is_nearer_below else two)) << shift)
    here = _odd_product(high, low, quarter << shift)
    above = _odd_product(high, low, (quarter + two) << shift)
    is_odd = significand & one  # the ends of the interval round to an even significand
    below += is_odd
    above -= is_odd
    found = here >> two
    if found >= ten:
        shorter = found // ten
        scaled = np.uint64(40) * shorter
        fits_down, fits_up = below <= scaled, scaled + np.uint64(40) <= above
        if fits_down != fits_up:
            return shorter + np.uint64(fits_up), tenth + 1
    fits_down, fits_up = below <= found << two, (found << two) + four <= above
    if fits_down != fits_up:
        return found + np.uint64(fits_up), tenth
    half = (found << two) + two
    return found + np.uint64(here > half or (here == half and found & one != 0)), tenth


@compiled
def write_real(out: Any, at: Word, bits: Word) -> Word:
    """Write the float of these 64 bits; return the end. -0.0 is written as 0, non-finite values as `null`."""
    bits = np.uint64(bits)
    sizes = bits & np.uint64(0x7FFF_FFFF_FFFF_FFFF)
    if sizes >= np.uint64(0x7FF0_0000_0000_0000):
        for letter in range(4):
            out[at + letter] = _NULL[letter]
        return at + 4
    if sizes == 0:
        out[at] = _ZERO
        return at + 1
    if sizes != bits:
        out[at] = _MINUS
        at += 1
    digits, power = _shortest(sizes)
    ten, many = np.uint64(10), np.uint64(10_000)
    while digits % many == 0:
        digits //= many
        power += 4
    while digits % ten == 0:
        digits //= ten
        power += 1
    length = length_of(digits)
    point = length + power
    if length <= point <= _PLAIN_MAX:
        at = write_digits(out, at, digits, length)
        return write_digits(out, at, np.uint64(0), power)
    if 0 < point <= _PLAIN_MAX:
        split = _TENS[length - point]
        whole = digits // split
        at = write_digits(out, at, whole, point)
        out[at] = _POINT
        return write_digits(out, at + 1, digits - whole * split, length - point)
    if -_ZEROS_TOO_MANY < point <= 0:
        out[at] = _ZERO
        out[at + 1] = _POINT
        return write_digits(out, at + 2, digits, length - point)
    if length > 1:
        write_digits(out, at + 1, digits, length)
        out[at] = out[at + 1]
        out[at + 1] = _POINT
        at += length + 1
    else:
        at = write_digits(out, at, digits, 1)
    out[at] = _E
    out[at + 1] = _MINUS if point < 1 else _PLUS
    exponent = np.uint64(abs(point - 1))
    return write_digits(out, at + 2, exponent, length_of(exponent))
