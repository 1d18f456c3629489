"""SHA-256 of many texts of one array: by the instructions of the processor that has them, else by hashlib.

The kernel keeps the eight words of the state as these instructions take them, in two vectors: F E B A and H G D C, the
lowest first (Intel, "Intel SHA Extensions", 2013). What hashlib costs for each text is mostly the call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from math import isqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.features.kernels.native import Native, native
from shroff.features.kernels.numbers import Word, intrinsic_of

DIGEST_BYTES: Final = 32
_BLOCK_BYTES: Final = 64
_FIRST_PRIMES: Final = [n for n in range(2, 312) if all(n % number for number in range(2, isqrt(n) + 1))]
_NEED: Final = ("sha", "sse4.1", "ssse3")

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]


def _cube_root(value: int) -> int:
    root = 1 << (value.bit_length() + 2) // 3
    while (better := (2 * root + value // root**2) // 3) < root:
        root = better
    return root


_WORD: Final = 2**32 - 1
_ROUNDS: Final = [_cube_root(prime << 96) & _WORD for prime in _FIRST_PRIMES]
_A, _B, _C, _D, _E, _F, _G, _H = (isqrt(prime << 64) & _WORD for prime in _FIRST_PRIMES[:8])
_BEGIN: Final = np.array([_F, _E, _B, _A, _H, _G, _D, _C], np.uint32)
_IN_ORDER: Final = np.array([3, 2, 7, 6, 1, 0, 5, 4], np.int64)  # A to H, where they stand in the state


def _blocks(typing_context: Any, state: Any, data: Any, at: Any, count: Any) -> Any:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils as untyped

    cgutils: Any = untyped
    word, vector = ir.IntType(32), ir.VectorType(ir.IntType(32), 4)

    def constant(*values: int) -> Any:
        return ir.Constant(vector, [ir.Constant(word, value) for value in values])

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def named(name: str, parameters: int) -> Any:
            kind = ir.FunctionType(vector, [vector] * parameters)
            return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}")

        two_rounds, first, second = (
            named(f"x86.sha256{name}", n) for name, n in (("rnds2", 3), ("msg1", 2), ("msg2", 2))
        )
        swapped = named("bswap.v4i32", 1)
        if _features().get("avx", False):
            # Where the upper halves of registers are in use, each of these instructions waits some 100 ns for them on
            # processors of Intel.
            clear = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, clear, "llvm.x86.avx.vzeroupper"), [])

        def loaded(place: Any) -> Any:
            read = builder.load(place)
            read.align = 1
            return read

        def vectors_of(array: int) -> Any:
            made = context.make_array(signature.args[array])(context, builder, arguments[array])
            return made.data

        def moved(place: Any, by: int) -> Any:
            return builder.gep(place, [ir.Constant(ir.IntType(64), by)])

        low_at = builder.bitcast(vectors_of(0), vector.as_pointer())
        low, high = cgutils.alloca_once(builder, vector), cgutils.alloca_once(builder, vector)
        builder.store(loaded(low_at), low)
        builder.store(loaded(moved(low_at, 1)), high)
        begin = builder.gep(vectors_of(1), [arguments[2]])
        with cgutils.for_range(builder, arguments[3]) as loop:
            block_at = builder.gep(begin, [builder.mul(loop.index, ir.Constant(ir.IntType(64), _BLOCK_BYTES))])
            block = builder.bitcast(block_at, vector.as_pointer())
            schedule = [builder.call(swapped, [loaded(moved(block, part))]) for part in range(4)]
            feba, hgdc = builder.load(low), builder.load(high)
            low_before, high_before = feba, hgdc
            for part in range(16):
                if part >= 4:
                    middle = builder.shuffle_vector(schedule[-2], schedule[-1], constant(1, 2, 3, 4))
                    mixed = builder.add(builder.call(first, [schedule[-4], schedule[-3]]), middle)
                    schedule.append(builder.call(second, [mixed, schedule[-1]]))
                added = builder.add(schedule[part], constant(*_ROUNDS[4 * part : 4 * part + 4]))
                hgdc = builder.call(two_rounds, [hgdc, feba, added])
                feba = builder.call(
                    two_rounds, [feba, hgdc, builder.shuffle_vector(added, added, constant(2, 3, 0, 0))]
                )
            builder.store(builder.add(feba, low_before), low)
            builder.store(builder.add(hgdc, high_before), high)
        for place, kept in ((low_at, low), (moved(low_at, 1), high)):
            builder.store(builder.load(kept), place).align = 1
        return context.get_dummy_value()

    return types.void(state, data, types.int64, types.int64), generate


# Take so many blocks of an array into the state.
_take_blocks = intrinsic_of(_blocks)


def _hash_slices(texts: Any, starts: Word, stops: Word, digests: Any, state: Any, last: Any) -> None:
    """Put the SHA-256 of each slice into its row of `digests`; `state` and `last` are room for 8 words and 2 blocks."""
    for row in range(len(starts)):
        for word in range(8):
            state[word] = _BEGIN[word]
        start, size = starts[row], stops[row] - starts[row]
        whole = size // _BLOCK_BYTES
        _take_blocks(state, texts, start, whole)
        rest = size - whole * _BLOCK_BYTES
        for at in range(rest):
            last[at] = texts[start + whole * _BLOCK_BYTES + at]
        blocks = 1 if rest < _BLOCK_BYTES - 8 else 2
        last[rest] = 0x80
        for at in range(rest + 1, blocks * _BLOCK_BYTES - 8):
            last[at] = 0
        for at in range(8):
            last[blocks * _BLOCK_BYTES - 1 - at] = (size * 8 >> 8 * at) & 0xFF
        _take_blocks(state, last, 0, blocks)
        for word in range(8):
            found = np.int64(state[_IN_ORDER[word]])
            for at in range(4):
                digests[row, 4 * word + at] = (found >> (24 - 8 * at)) & 0xFF


@cache
def _features() -> Mapping[str, bool]:
    """Features of this processor, as LLVM names them."""
    import llvmlite.binding as llvm

    found: Mapping[str, bool] = llvm.get_host_cpu_features()
    return found


@cache
def has_instructions() -> bool:
    """Whether this processor has SHA-256 instructions."""
    return all(_features().get(name, False) for name in _NEED)


@cache
def _kernel() -> Native:
    """Only for a processor that has the instructions: LLVM ends the process where it cannot write them."""
    return native("void(uint8[::1], int64[::1], int64[::1], uint8[:, ::1], uint32[::1], uint8[::1])")(_hash_slices)


def kernels() -> list[Native]:
    """The kernel, where this processor has the instructions."""
    return [_kernel()] if has_instructions() else []


def hash_slices(texts: Bytes, starts: Words, stops: Words) -> Bytes:
    """The SHA-256 of slices of a text, as rows of 32 bytes."""
    if not has_instructions():
        return by_hashlib(texts, starts, stops)
    digests = np.empty((len(starts), DIGEST_BYTES), np.uint8)
    _kernel()(texts, starts, stops, digests, np.empty(8, np.uint32), np.empty(2 * _BLOCK_BYTES, np.uint8))
    return digests


def by_hashlib(texts: Bytes, starts: Words, stops: Words) -> Bytes:
    """The same without the processor's instructions."""
    shown = texts.data
    slices = zip(starts.tolist(), stops.tolist(), strict=True)
    digests = b"".join([hashlib.sha256(shown[start:stop]).digest() for start, stop in slices])
    return np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)
