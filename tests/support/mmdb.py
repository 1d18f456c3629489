"""A MaxMind database from a few networks, by the format's description: a tree of bits, and records behind it."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

_STRING, _DOUBLE, _MAP, _ARRAY, _UINT16, _UINT32, _UINT64, _BOOLEAN = 2, 3, 7, 11, 5, 6, 9, 14
_KINDS = {"build_epoch": _UINT64, "node_count": _UINT32}  # of numbers about a database; others have 16 bits


def _head(kind: int, size: int) -> bytes:
    rest = b""
    if size >= 285:
        size, rest = 30, (size - 285).to_bytes(2, "big")
    elif size >= 29:
        size, rest = 29, bytes([size - 29])
    return (bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])) + rest


def _value(value: Any, kind: int = _UINT32) -> bytes:
    if isinstance(value, str):
        return _head(_STRING, len(value.encode())) + value.encode()
    if isinstance(value, bool):
        return _head(_BOOLEAN, int(value))
    if isinstance(value, int):
        data = value.to_bytes(8, "big").lstrip(b"\0")
        return _head(_UINT64 if len(data) > 4 else kind, len(data)) + data
    if isinstance(value, float):
        return _head(_DOUBLE, 8) + struct.pack(">d", value)
    if isinstance(value, dict):
        return _head(_MAP, len(value)) + b"".join(_value(key) + _value(item) for key, item in value.items())
    return _head(_ARRAY, len(value)) + b"".join(map(_value, value))


def mmdb_bytes(records: dict[str, Any]) -> bytes:
    """A database of IPv6 with IPv4 in it. A longer network is inside a shorter one, whatever their order."""
    tree: list[list[Any]] = [[None, None]]
    data = b""
    for network in sorted(map(ipaddress.ip_network, records), key=lambda network: network.prefixlen):
        record, width = records[str(network)], 32 if network.version == 4 else 128
        bits = f"{int(network.network_address):0128b}"[: network.prefixlen + 128 - width]
        node = 0
        for bit in map(int, bits[:-1]):
            below = tree[node][bit]
            if not isinstance(below, int):
                tree.append([below, below])
                tree[node][bit] = below = len(tree) - 1
            node = below
        tree[node][int(bits[-1])] = (len(data),)
        data += _value(record)
    count = len(tree)
    leaves = {None: count}
    for node in tree:
        leaves |= {leaf: count + 16 + leaf[0] for leaf in node if isinstance(leaf, tuple)}
    nodes = b"".join(
        (leaf if isinstance(leaf, int) else leaves[leaf]).to_bytes(4, "big") for node in tree for leaf in node
    )
    about = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": "Test",
        "description": {"en": "made up"},
        "ip_version": 6,
        "languages": ["en"],
        "node_count": count,
        "record_size": 32,
    }
    fields = b"".join(_value(name) + _value(value, _KINDS.get(name, _UINT16)) for name, value in about.items())
    return nodes + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _head(_MAP, len(about)) + fields
