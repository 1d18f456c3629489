"""Kernels that select new events in files, and number their texts, without a Python object for each.

Texts are identified by hashes of 128 bits under a random key of the process (SipHash-1-3), so nobody can construct a
collision: among 10 million texts the probability of any collision is 1 in 10^24.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shroff.features.kernels.native import native
from shroff.features.kernels.numbers import Word, compiled

V0, V1, V2, V3 = (  # the words "somepseudorandomlygeneratedbytes" of SipHash
    np.uint64(word) for word in (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
)
U0, U1, U8, U13, U16, U17, U21, U32, U56, U64, U255 = (
    np.uint64(number) for number in (0, 1, 8, 13, 16, 17, 21, 32, 56, 64, 255)
)
MIX0, MIX1 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)  # of MurmurHash3, which mixes all bits
UEE = np.uint64(0xEE)
UDD = np.uint64(0xDD)
WATERMARK = 0  # indices into the state of `take_events`
IS_THERE = 1
COUNT = 2
DOUBLED = 0  # results for an event
TAKEN = 1
TOO_LATE = 2


@compiled
def rotated(word: Word, bits: Word) -> Word:
    return (word << bits) | (word >> (U64 - bits))


@compiled
def sip_round(v0: Word, v1: Word, v2: Word, v3: Word) -> Any:
    v0 += v1
    v1 = rotated(v1, U13) ^ v0
    v0 = rotated(v0, U32)
    v2 += v3
    v3 = rotated(v3, U16) ^ v2
    v0 += v3
    v3 = rotated(v3, U21) ^ v0
    v2 += v1
    v1 = rotated(v1, U17) ^ v2
    v2 = rotated(v2, U32)
    return v0, v1, v2, v3


@native("void(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1], uint64, uint64, uint64[:, ::1])")
def hash_texts(data: Any, begins: Any, ends: Any, key0: Word, key1: Word, hashes: Any) -> None:
    """Hash texts; text i is [begins[i], ends[i]). No hash is all zeros."""
    for i in range(len(ends)):
        begin = begins[i]
        end = ends[i]
        v0 = key0 ^ V0
        v1 = key1 ^ V1 ^ UEE
        v2 = key0 ^ V2
        v3 = key1 ^ V3
        at = begin
        while at + 8 <= end:
            word = U0
            for byte in range(8):
                word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            v3 ^= word
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
            v0 ^= word
            at += 8
        word = (np.uint64(end - begin) & U255) << U56
        byte = 0
        while at + byte < end:
            word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
            byte += 1
        v3 ^= word
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        v0 ^= word
        v2 ^= UEE
        for _ in range(3):
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        hashes[i, 0] = v0 ^ v1 ^ v2 ^ v3
        v1 ^= UDD
        for _ in range(3):
            v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        hashes[i, 1] = (v0 ^ v1 ^ v2 ^ v3) | U1


@compiled
def find(slots: Any, first: Word, two: Word) -> Word:
    """Return the slot of a hash, or the free slot where it belongs."""
    mask = np.uint64(len(slots) - 1)
    at = first & mask
    while slots[at, 1] != U0 and (slots[at, 0] != first or slots[at, 1] != two):
        at = (at + U1) & mask
    return at


@native("void(uint64[:, ::1], int64[::1], uint64[:, ::1], int64[::1], int64, uint8[::1])")
def take_events(hashes: Any, times: Any, slots: Any, state: Any, lateness_ms: Word, taken: Any) -> None:
    """Decide for each event whether it is accepted: its id is new and it is not too late.

    A rejected event moves no watermark, and its id stays new. `slots` must have room for all. This repeats the rule of
    `feature_events.file_batches`, as compiled code has no set of ids; a law test compares them.
    """
    for i in range(len(times)):
        at = find(slots, hashes[i, 0], hashes[i, 1])
        taken[i] = DOUBLED
        if slots[at, 1] != U0:
            continue
        if state[IS_THERE] == 1 and state[WATERMARK] - times[i] > lateness_ms:
            taken[i] = TOO_LATE
            continue
        taken[i] = TAKEN
        slots[at, 0] = hashes[i, 0]
        slots[at, 1] = hashes[i, 1]
        state[COUNT] += 1
        if state[IS_THERE] == 0 or times[i] > state[WATERMARK]:
            state[WATERMARK] = times[i]
            state[IS_THERE] = 1


@native("void(int64[::1], int64[::1], int64, uint8[::1])")
def take_times(times: Any, state: Any, lateness_ms: Word, taken: Any) -> None:
    """Like `take_events`, for events whose ids are all new and in no table."""
    for i in range(len(times)):
        taken[i] = TOO_LATE
        if state[IS_THERE] == 0 or state[WATERMARK] - times[i] <= lateness_ms:
            taken[i] = TAKEN
            state[COUNT] += 1
            if state[IS_THERE] == 0 or times[i] > state[WATERMARK]:
                state[WATERMARK] = times[i]
                state[IS_THERE] = 1


@native("int64(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1])")
def ascend(data: Any, begins: Any, ends: Any) -> Word:
    """Return 1 if each text comes after the one before it, ordered by length, then by bytes; else 0."""
    for i in range(1, len(ends)):
        at = begins[i]
        other = begins[i - 1]
        end = ends[i]
        longer = (end - at) - (ends[i - 1] - other)
        while longer == 0 and at < end and data[at] == data[other]:
            at += 1
            other += 1
        if longer < 0 or (longer == 0 and (at == end or data[at] < data[other])):
            return 0
    return 1


@native("int64(uint64[:, ::1], uint64[:, ::1], int32[::1], int64, int32[::1], uint8[::1])")
def code_texts(hashes: Any, slots: Any, numbers: Any, count: Word, codes: Any, is_new: Any) -> Word:
    """Give each text its number; a new one gets the next from `count` on. Return the new count."""
    for i in range(len(hashes)):
        at = find(slots, hashes[i, 0], hashes[i, 1])
        is_new[i] = 0
        if slots[at, 1] == U0:
            slots[at, 0] = hashes[i, 0]
            slots[at, 1] = hashes[i, 1]
            numbers[at] = count
            is_new[i] = 1
            count += 1
        codes[i] = numbers[at]
    return count


@native("int64(Array(int64, 1, 'C', readonly=True), uint64, int64[:, ::1], int32[::1], int64[::1])")
def code_integers(integers: Any, key: Word, slots: Any, codes: Any, new: Any) -> Word:
    """Set the code of each integer from its slot, above 0; new integers get -1, -2, ...

    Return the number of new integers; `new` has their slots. `slots` must have room for all.
    """
    count = np.int64(0)
    mask = np.uint64(len(slots) - 1)
    for i in range(len(integers)):
        mixed = (np.uint64(integers[i]) ^ key) * MIX0
        mixed = (mixed ^ (mixed >> U32)) * MIX1
        at = (mixed ^ (mixed >> U32)) & mask
        while slots[at, 1] != 0 and slots[at, 0] != integers[i]:
            at = (at + U1) & mask
        if slots[at, 1] == 0:
            new[count] = at
            count += 1
            slots[at, 0] = integers[i]
            slots[at, 1] = -count
        codes[i] = slots[at, 1]
    return count
