"""Keys of look-up tables that match many values: prefixes, suffixes and networks, as intervals of byte strings.

Each kind becomes a prefix of bytes: a suffix reversed, a network as the first bits of its address. All values with a
prefix form one interval in byte order, so one binary search finds every matching key, the longest first.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, Final, NamedTuple

import numpy as np

from shroff.arrays import Array
from shroff.language.values import Value

KEY_BYTES_MAX = 255  # of a prefix or suffix; a domain name has 253 at most
_MAPPED = bytes(10) + b"\xff\xff"  # prefix of an IPv4 address in IPv6
_OVERLAPS_MAX = 1_000  # of one table; each costs a comparison with all keys of the same values
_WIDTHS = (4, 16)  # bytes of an address
_BEFORE_ZERO, _NINE = ord("0") - 1, ord("9")


class Interval(NamedTuple):
    """A key as the values from `start` up to, but not including, `end`, as bytes; `end` is None at the end of the
    order.

    Args:
        family: 1 for IPv6, else 0.
        length: Decides which of several keys is the longest.
        digits: Number of leading digits that values must have, for a range of prefixes.
    """

    family: int
    start: bytes
    end: bytes | None
    length: int
    digits: int = 0


def key_interval(kind: str, text: str) -> Interval:
    """Return the interval of a key as written in a file. Raises: ValueError with advice."""
    if not text or "\0" in text:
        raise ValueError("the key is empty, or has a character of code 0")
    if kind == "network":
        return _network(text)
    if len(text.encode()) > KEY_BYTES_MAX:
        raise ValueError(f"the key is longer than {KEY_BYTES_MAX} bytes")
    if kind == "suffix":
        return _prefix(_turned(text))
    first, dash, last = text.partition("-")
    if not dash or not (first + last).isdecimal():
        return _prefix(text.encode())
    low = first.encode("ascii", "replace")
    high = last.encode("ascii", "replace")
    if len(low) != len(high) or low > high:
        raise ValueError(f"{text!r} is no range: it has as many digits on both sides, the lower first")
    whole = _prefix(low)
    return whole if low == high else Interval(0, low, _after(high), len(low), len(low))


def range_interval(kind: str, low: str, high: str) -> Interval:
    """Return the interval of a range of addresses or digits, both ends included. Raises: ValueError with advice.

    Addresses may be integers. Digits are extended, those of the lower end with 0 and of the upper with 9; then what
    both have of these at their ends is cut, so that shorter texts match too.
    """
    words = f"{low} to {high} is no range"
    if kind == "network":
        is_long = any(":" in end or (end[:99].isdecimal() and int(end[:99]) >> 32) for end in (low, high))
        first, last = (_address(end, is_long=is_long) for end in (low, high))
        if first is None or last is None or len(first) != len(last):
            raise ValueError(f"{words}: both ends are addresses of one family, or integers")
        length = 0
        digits = 0
        end = int.from_bytes(last) + 1
        after = None if end >> 8 * len(last) else end.to_bytes(len(last))
    else:
        if (
            not (low and high and (low + high).isascii() and (low + high).isdecimal())
            or len(low + high) > KEY_BYTES_MAX
        ):
            raise ValueError(f"{words}: both ends are digits")
        length = max(len(low), len(high))
        first = low.ljust(length, "0").encode()
        last = high.ljust(length, "9").encode()
        while len(first) > 1 and first.endswith(b"0") and last.endswith(b"9"):
            first = first[:-1]
            last = last[:-1]
        digits = len(first) if first != last else 0
        after = _after(last)
    if first > last:
        raise ValueError(f"{words}: the lower end stands first. Swap the two")
    return Interval(int(len(first) == _WIDTHS[1] and kind == "network"), first, after, length, digits)


def _address(text: str, *, is_long: bool) -> bytes | None:
    """Return the bytes of an address, or of its integer; None if the text is neither."""
    if text.isdecimal() and len(text) < KEY_BYTES_MAX and not int(text) >> 128:
        text = str((IPv6Address if is_long else IPv4Address)(int(text)))
    return None if "%" in text else address_bytes(text)


def _prefix(key: bytes) -> Interval:
    return Interval(0, key, _after(key), len(key))


def _after(key: bytes) -> bytes | None:
    """Return the least bytes above all that have this prefix; None if there are none."""
    rest = key.rstrip(b"\xff")
    return rest[:-1] + bytes([rest[-1] + 1]) if rest else None


def _turned(text: str) -> bytes:
    """Return the folded name behind a dot, reversed, so that a domain is a prefix of its subdomains."""
    return f".{text}".casefold()[::-1].encode()


def _all_turned(names: Sequence[str]) -> Sequence[bytes]:
    """Return `_turned` of each name, in one pass."""
    made = "\n.".join(("", *names)).casefold()[::-1].encode().split(b"\n")[-2::-1]
    return made if len(made) == len(names) else list(map(_turned, names))  # a name may contain a line feed


def _network(text: str) -> Interval:
    address, _, bits_text = text.partition("/")
    packed = address_bytes(address)
    if packed is None or "%" in text:
        raise ValueError(f"{text!r} is no network such as 192.0.2.0/24 or 2001:db8::/32")
    is_mapped = ":" in address and len(packed) == 4
    size = 8 * len(packed)
    bits = int(bits_text) - 96 * is_mapped if bits_text.isdecimal() and bits_text.isascii() else size
    if not 0 <= bits <= size or (bits == size and "/" in text and not bits_text.isdecimal()):
        least = 96 * is_mapped
        raise ValueError(f"{text!r} is no network: behind the / stands a number of bits, {least} to {least + size}")
    number = int.from_bytes(packed)
    free = size - bits
    if number & ((1 << free) - 1):
        raise ValueError(f"{text!r} has bits of a host. Write {ip_network(text, strict=False)}")
    end = number + (1 << free)
    family = len(packed) == _WIDTHS[1]
    return Interval(int(family), packed, None if end >> size else end.to_bytes(len(packed)), bits)


def address_bytes(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, as `ipaddress` parses it, 4 for an IPv4-mapped one; None for other
    texts.
    """
    try:
        if ":" not in text:
            return inet_pton(AF_INET, text)
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        try:
            packed = ip_address(text).packed
        except ValueError:
            return None
    return packed[12:] if packed.startswith(_MAPPED) and len(packed) == _WIDTHS[1] else packed


class KeyColumn:
    """Keys of a table while it is read, one after the other, in little memory."""

    def __init__(self) -> None:
        self.families, self.lengths, self.digits = bytearray(), array("H"), array("H")
        # Starts and ends of intervals, and where each of these ends.
        self._bytes, self._ends = (bytearray(), bytearray()), array("Q")

    def add(self, key: Interval) -> int:
        """Add a key; return its number."""
        self.families.append(key.family)
        self.lengths.append(key.length)
        self.digits.append(key.digits)
        for data, part in zip(self._bytes, (key.start, key.end or b""), strict=True):
            data += part
            self._ends.append(len(data))
        return len(self.lengths) - 1

    def __len__(self) -> int:
        return len(self.lengths)

    def edges(self, numbers: Array, width: int) -> tuple[Array, Array]:
        """Return the starts and ends of the intervals of keys, as byte strings; an empty one means no end."""
        ends = np.frombuffer(self._ends, np.uint64).astype(np.int64).reshape(-1, 2)
        made = []
        for part, data in enumerate(self._bytes):
            stops = ends[:, part]
            text = bytes(data)
            starts = np.concatenate([np.zeros(1, np.int64), stops])[:-1]
            cut = zip(starts[numbers].tolist(), stops[numbers].tolist(), strict=True)
            made.append(np.array([text[start:stop] for start, stop in cut], f"S{width}"))
        return made[0], made[1]


class IntervalIndex(NamedTuple):
    """Index from values to their keys, the longest first.

    Args:
        starts: For each family, the places at which another key, or none, becomes the longest.
        owners: For each of these places its node.
        key_of: For each node its key.
        next_of: For each node the node of the next shorter key for the same values; -1, the last, for none.
        digits: For each key its `digits`.
    """

    kind: str
    starts: Sequence[Array]
    owners: Sequence[Array]
    key_of: Array
    next_of: Array
    digits: Array
    has_digits: bool

    @classmethod
    def of(cls, kind: str, keys: KeyColumn) -> tuple[IntervalIndex, list[tuple[int, int]]]:
        """Return the index of distinct keys, and pairs of keys of one length that match the same values.

        With too many pairs it stops, so that such a table needs no memory; the index is then useless.
        """
        overlaps: list[tuple[int, int]] = []
        nodes = (array("i"), array("i"))
        families = np.frombuffer(keys.families, np.uint8)
        lengths = np.frombuffer(keys.lengths, np.uint16)
        starts = []
        owners = []
        for family in range(2 if kind == "network" else 1):
            own = np.flatnonzero(families == family)
            width = _WIDTHS[family] if kind == "network" else int(lengths.max(initial=1))
            made = _swept(own, lengths, *keys.edges(own, width), nodes, overlaps)
            starts.append(made[0].view(">u4").astype(np.uint32) if kind == "network" and not family else made[0])
            owners.append(made[1])
        digits = np.frombuffer(keys.digits, np.uint16).copy()
        for part in nodes:
            part.append(-1)
        key_of, next_of = (np.frombuffer(part, np.int32) for part in nodes)
        return cls(kind, starts, owners, key_of, next_of, digits, bool(digits.any())), overlaps

    def find(self, texts: Sequence[Any], is_valid: Callable[[Array, Array], Array] | None = None) -> Array:
        """Return the number of the longest valid key for each text; -1 if there is none. Cost: 1 us per text.

        Args:
            is_valid: Returns whether each key counts, for numbers of keys and of their texts.
        """
        found = np.full(len(texts), -1, np.int32)
        digits = np.zeros(len(texts), np.int32)
        values = _all_turned(texts) if self.kind == "suffix" else list(map(_VALUES[self.kind], texts))
        widths = np.array([len(value) if value else 0 for value in values]) if self.kind == "network" else None
        for family, (starts, owners) in enumerate(zip(self.starts, self.owners, strict=True)):
            rows = np.arange(len(texts)) if widths is None else np.flatnonzero(widths == _WIDTHS[family])
            own = values if len(rows) == len(texts) else [values[row] for row in rows.tolist()]
            packed = _packed(own, starts.dtype)
            if packed.itemsize <= _WIDTHS[1]:  # sorting longer values costs more than it saves
                order = packed.argsort()
                rows = rows[order]
                packed = packed[order]
            found[rows] = owners[starts.searchsorted(packed, "right") - 1]
        if self.has_digits:
            width = self.starts[0].dtype.itemsize
            signs = np.array(values, f"S{width}").view(np.uint8).reshape(-1, width)
            others = (signs <= _BEFORE_ZERO) | (signs > _NINE)
            digits = np.where(others.any(1), others.argmax(1), width)
        waiting = np.flatnonzero(found >= 0) if self.has_digits or is_valid is not None else found[:0]
        while len(waiting):
            numbers = self.key_of[found[waiting]]
            fits = digits[waiting] >= self.digits[numbers]
            if is_valid is not None:
                fits &= is_valid(numbers, waiting)
            waiting = waiting[~fits]
            found[waiting] = self.next_of[found[waiting]]
            waiting = waiting[found[waiting] >= 0]
        return np.asarray(self.key_of[found])

    def find_one(self, text: Value, is_valid: Callable[[int], bool] | None = None) -> int:
        """Return the number of the key for one text, without arrays. Cost: 5 us; `find` takes 50."""
        value = _VALUES[self.kind](str(text))
        if value is None:
            return -1
        family = self.kind == "network" and len(value) == _WIDTHS[1]
        starts = self.starts[family]
        owners = self.owners[family]
        packed = _packed([value], starts.dtype)[0]
        node = owners[starts.searchsorted(packed, "right") - 1]
        while node >= 0:
            number = self.key_of[node]
            digits = value[: self.digits[number]]
            fits = len(digits) == self.digits[number] and (not digits or digits.isdigit())
            if fits and (is_valid is None or is_valid(number)):
                return int(number)
            node = self.next_of[node]
        return -1


def _swept(
    own: Array,
    lengths: Array,
    starts: Array,
    ends: Array,
    nodes: tuple[array[int], array[int]],
    overlaps: list[tuple[int, int]],
) -> tuple[Array, Array]:
    """Return the places where another key, or none, becomes the longest, in order, and its nodes; add nodes and
    overlaps.

    Args:
        own: Numbers of the keys with these intervals.
    """
    ending = np.flatnonzero(ends != b"")
    edges = np.concatenate([ends[ending], starts])
    order = np.argsort(edges, kind="stable")  # at one place, ends come before starts
    numbers = np.concatenate([own[ending], own])[order]
    first_start = len(ending)
    active: list[tuple[int, int]] = []  # length and number of the keys that match here, the longest last
    stack = [-1]
    owners = array("i", [-1])
    rows = zip(order.tolist(), numbers.tolist(), lengths[numbers].tolist(), strict=True)
    for edge, number, length in rows:
        if len(overlaps) >= _OVERLAPS_MAX:  # the table is refused anyway
            break
        key = (length, number)
        level = bisect_left(active, key)
        if edge >= first_start:
            around = active[max(level - 1, 0) : level + 1]
            overlaps += [(other, number) for other_length, other in around if other_length == length]
            active.insert(level, key)
        else:
            del active[level]
        del stack[level + 1 :]
        for _, above in active[level:]:
            nodes[0].append(above)
            nodes[1].append(stack[-1])
            stack.append(len(nodes[0]) - 1)
        owners.append(stack[-1])
    places = np.concatenate([np.zeros(1, edges.dtype), edges[order[: len(owners) - 1]]])
    is_last = np.append(places[1:] != places[:-1], True)  # of the edges at one place
    return places[is_last], np.frombuffer(owners, np.int32)[is_last]


# The bytes of a text to look up; None if it is not an address.
_VALUES: Final[Mapping[str, Callable[[str], bytes | None]]] = {
    "prefix": str.encode,
    "suffix": _turned,
    "network": address_bytes,
}


def _packed(values: Sequence[bytes | None], dtype: np.dtype[Any]) -> Array:
    """Return byte strings as an array with the same order; IPv4 addresses as integers."""
    if dtype.kind == "u":
        return np.frombuffer(b"".join(filter(None, values)), ">u4").astype(np.uint32)
    return np.array(values, dtype)
