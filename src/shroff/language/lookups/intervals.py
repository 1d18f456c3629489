"""Keys of look-up tables that hold many values: prefixes, suffixes and networks, as intervals of byte strings.

Each kind becomes a prefix of bytes: a suffix with its labels turned round, a network as the first bits of its address.
All that begins with a prefix lies in one interval of the order of bytes, so one binary search finds every key that may
hold a value, the longest first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

_MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address in IPv6
_WIDTHS: Final = (4, 16)  # bytes of an address
_BEFORE_ZERO, _NINE = ord("0") - 1, ord("9")
Array = NDArray[Any]


class Interval(msgspec.Struct, frozen=True, order=True):
    """A key: the values from `start` on and before `end`, as bytes; `end` None has no end.

    `length` says which of several keys is the longest; of a range of prefixes with as many digits `digits` is that.
    """

    family: int
    start: bytes
    end: bytes | None
    length: int
    digits: int = 0


def key_interval(kind: str, text: str) -> Interval:
    """The interval of a key as it stands in a file. Raises: ValueError with the cure."""
    if not text or "\0" in text:
        raise ValueError("the key is empty, or has a character of code 0")
    if kind == "network":
        return _network(text)
    if kind == "suffix":
        return _prefix(_turned(text))
    first, dash, last = text.partition("-")
    if not dash or not (first + last).isdecimal():
        return _prefix(text.encode())
    low, high = first.encode("ascii", "replace"), last.encode("ascii", "replace")
    if len(low) != len(high) or low > high:
        raise ValueError(f"{text!r} is no range: it has as many digits on both sides, the lower first")
    whole = _prefix(low)
    return whole if low == high else Interval(0, low, _after(high), len(low), len(low))


def _prefix(key: bytes) -> Interval:
    return Interval(0, key, _after(key), len(key))


def _after(key: bytes) -> bytes | None:
    """The first bytes behind all that begin with these; None where there are none."""
    rest = key.rstrip(b"\xff")
    return rest[:-1] + bytes([rest[-1] + 1]) if rest else None


def _turned(text: str) -> bytes:
    """The labels of a name, folded and from the last to the first, each with a dot behind it."""
    return "".join(f"{label}." for label in reversed(text.casefold().split("."))).encode()


def _network(text: str) -> Interval:
    address, _, bits_text = text.partition("/")
    packed = address_bytes(address)
    if packed is None or "%" in text:
        raise ValueError(f"{text!r} is no network such as 192.0.2.0/24 or 2001:db8::/32")
    is_mapped, size = ":" in address and len(packed) == 4, 8 * len(packed)
    bits = int(bits_text) - 96 * is_mapped if bits_text.isdecimal() and bits_text.isascii() else size
    if not 0 <= bits <= size or (bits == size and "/" in text and not bits_text.isdecimal()):
        raise ValueError(f"{text!r} is no network: behind the / stands a number of bits, at most {size}")
    number, free = int.from_bytes(packed), size - bits
    if number & ((1 << free) - 1):
        raise ValueError(f"{text!r} has bits of a host. Write {ip_network(text, strict=False)}")
    end = number + (1 << free)
    family = len(packed) == _WIDTHS[1]
    return Interval(int(family), packed, None if end >> size else end.to_bytes(len(packed)), bits)


def address_bytes(text: str) -> bytes | None:
    """The 4 or 16 bytes of an address, as `ipaddress` reads it; 4 of an IPv4-mapped one; None of any other text."""
    try:
        packed = inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):
        try:
            packed = ip_address(text).packed
        except ValueError:
            return None
    return packed[12:] if packed.startswith(_MAPPED) and len(packed) == _WIDTHS[1] else packed


class IntervalIndex:
    """Which keys hold a value, the longest first.

    Args:
        keys: The intervals, each once.

    Attributes:
        overlaps: Pairs of keys of one length that hold the same values though they differ.
    """

    def __init__(self, kind: str, keys: Sequence[Interval]) -> None:
        self.kind = kind
        self.overlaps: list[tuple[int, int]] = []
        self._value = _VALUES[kind]
        nodes: list[tuple[int, int]] = []
        self._families = [self._family(keys, family, nodes) for family in range(2 if kind == "network" else 1)]
        self._digits = np.array([key.digits for key in keys], np.int32)
        self._has_digits = bool(self._digits.any())
        # Of each node its key, and the node of the next shorter key that holds the same values; -1, the last, is none.
        self._key_of, self._next_of = np.array([*nodes, (-1, -1)], np.int32).T.copy()

    def _family(self, keys: Sequence[Interval], family: int, nodes: list[tuple[int, int]]) -> tuple[Array, Array]:
        """Where another key or none becomes the longest, in order, and the node of it."""
        own = [number for number, key in enumerate(keys) if key.family == family]
        ending = [number for number in own if keys[number].end is not None]
        places = [end for number in ending if (end := keys[number].end) is not None]
        places += [keys[number].start for number in own]
        width = _WIDTHS[family] if self.kind == "network" else max(map(len, places), default=1)
        edges = _packed(places, np.dtype(f"S{width}"))
        order = np.argsort(edges, kind="stable")  # at one place ends come before starts
        active: list[tuple[int, int]] = []  # length and number of the keys that hold the values here, the longest last
        stack, owners = [-1], np.empty(len(order) + 1, np.int32)
        owners[0] = -1
        for at, edge in enumerate(order, 1):
            is_start = edge >= len(ending)
            number = own[edge - len(ending)] if is_start else ending[edge]
            key = (keys[number].length, number)
            level = bisect_left(active, key)
            if is_start:
                around = active[max(level - 1, 0) : level + 1]
                self.overlaps += [(other, number) for length, other in around if length == key[0]]
                active.insert(level, key)
            else:
                del active[level]
            del stack[level + 1 :]
            for _, above in active[level:]:
                nodes.append((above, stack[-1]))
                stack.append(len(nodes) - 1)
            owners[at] = stack[-1]
        starts = np.concatenate([np.zeros(1, edges.dtype), edges[order]])
        is_last = np.append(starts[1:] != starts[:-1], True)  # of the edges at one place
        return starts[is_last], owners[is_last]

    def find(self, texts: Sequence[str], is_valid: Callable[[Array, Array], Array] | None = None) -> Array:
        """The number of the longest key that holds each text and is valid; -1 for none. Cost: 1 us a text.

        Args:
            is_valid: Of numbers of keys and of the texts that they hold: whether each counts.
        """
        found, digits = np.full(len(texts), -1, np.int32), np.zeros(len(texts), np.int32)
        values = list(map(self._value, texts))
        widths = np.array([len(value) if value else 0 for value in values]) if self.kind == "network" else None
        for family, (starts, owners) in enumerate(self._families):
            rows = np.arange(len(texts)) if widths is None else np.flatnonzero(widths == _WIDTHS[family])
            own = values if len(rows) == len(texts) else [values[row] for row in rows.tolist()]
            found[rows] = owners[starts.searchsorted(_packed(own, starts.dtype), "right") - 1]
        if self._has_digits:
            digits = _leading_digits(values, starts.dtype.itemsize)
        waiting = np.flatnonzero(found >= 0) if self._has_digits or is_valid is not None else found[:0]
        while len(waiting):
            numbers = self._key_of[found[waiting]]
            fits = digits[waiting] >= self._digits[numbers]
            if is_valid is not None:
                fits &= is_valid(numbers, waiting)
            waiting = waiting[~fits]
            found[waiting] = self._next_of[found[waiting]]
            waiting = waiting[found[waiting] >= 0]
        return np.asarray(self._key_of[found])

    def find_one(self, text: str, is_valid: Callable[[int], bool] | None = None) -> int:
        """The same of one text, without arrays. Cost: 5 us, where `find` takes 50."""
        value = self._value(text)
        if value is None:
            return -1
        starts, owners = self._families[self.kind == "network" and len(value) == _WIDTHS[1]]
        packed = _packed([value], starts.dtype)[0]
        node = owners[starts.searchsorted(packed, "right") - 1]
        while node >= 0:
            number = self._key_of[node]
            digits = value[: self._digits[number]]
            fits = len(digits) == self._digits[number] and (not digits or digits.isdigit())
            if fits and (is_valid is None or is_valid(number)):
                return int(number)
            node = self._next_of[node]
        return -1


# A text as the bytes that are looked up; None where it is no address.
_VALUES: Final[Mapping[str, Callable[[str], bytes | None]]] = {
    "prefix": str.encode,
    "suffix": _turned,
    "network": address_bytes,
}


def _packed(values: Sequence[bytes | None], dtype: np.dtype[Any]) -> Array:
    """Byte strings in an array that is ordered as they are; IPv4 addresses as the integers that they are."""
    if dtype.kind == "u" or dtype == np.dtype(f"S{_WIDTHS[0]}"):
        return np.frombuffer(b"".join((value or b"")[:4].ljust(4, b"\0") for value in values), ">u4").astype(np.uint32)
    return np.array(values, dtype)


def _leading_digits(values: Sequence[bytes | None], width: int) -> Array:
    signs = np.array(values, f"S{width}").view(np.uint8).reshape(-1, width)
    others = (signs <= _BEFORE_ZERO) | (signs > _NINE)
    return np.where(others.any(1), others.argmax(1), width)
