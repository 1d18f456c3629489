"""Client addresses behind proxies: forwarding headers are trusted only from configured proxies.

A client can forge these headers, and each proxy appends the address from which it got the request. So addresses are
read from the last to the first, and the first that is no configured proxy is the client's.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from shroff.project.settings.system import System

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED = b"forwarded"
FORWARDED_FOR = b"x-forwarded-for"
FORWARDED_PROTO = b"x-forwarded-proto"
READ_MAX = 1_024  # characters of Forwarded headers, enough for 20 proxies; longer ones are ignored
HOPS_MAX = 50  # last entries read of an X-Forwarded-For header
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PAIR = re.compile(rf'(?:^|;)\s*(\w+)\s*=\s*(?:{_QUOTED}|([^;",\s]*))')
_PART = re.compile(rf"(?:{_QUOTED}|[^,])+")  # up to a comma outside of quotation marks


class Proxies:
    """The trusted proxies before a service.

    Args:
        networks: Addresses or networks of the proxies, such as 10.0.0.0/8.
        header: The header that the proxies write, `FORWARDED_FOR` or `FORWARDED`. The other is never read: proxies
            that do not write it pass on forged values. The protocol is read from X-Forwarded-Proto or from Forwarded.
    """

    def __init__(self, networks: Sequence[str] = (), header: bytes = FORWARDED_FOR) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        self._header = header

    def sender(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return the client's address; `peer` is the address that opened the connection."""
        if not self._networks:
            return peer
        client = _address(peer)
        if client is None or not self._has(client):
            return peer
        for text in self._hops(headers):
            previous = _address(text)
            if previous is None:  # invalid or hidden by a proxy, so that earlier addresses cannot be trusted
                break
            client = previous
            if not self._has(client):
                break
        return str(client)

    def is_encrypted(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Return whether a trusted proxy says that its client used TLS. The last value counts, which `peer` wrote."""
        if not self.has(peer):
            return False
        if self._header == FORWARDED_FOR:
            protocols = [value for name, value in headers if name == FORWARDED_PROTO]
            return bool(protocols) and protocols[-1].rpartition(b",")[2].strip().lower() == b"https"
        return _named("proto", next(self._parts(headers), "")).lower() == "https"

    def has(self, peer: str) -> bool:
        address = _address(peer) if self._networks else None
        return address is not None and self._has(address)

    def _has(self, address: IP) -> bool:
        return any(address in network for network in self._networks)

    def _hops(self, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
        for part in self._parts(headers):
            yield part if self._header == FORWARDED_FOR else _named("for", part)

    def _parts(self, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
        values = [value.decode("latin-1") for name, value in headers if name == self._header]
        if self._header == FORWARDED and sum(map(len, values)) > READ_MAX:
            return  # a cut header could change its meaning, and unclosed quotes make the search slow
        for value in reversed(values):
            if self._header == FORWARDED_FOR:
                yield from reversed(value.rsplit(",", HOPS_MAX)[-HOPS_MAX:])
            else:
                yield from reversed([match[0] for match in _PART.finditer(value)])


def proxies_of(web: System) -> Proxies:
    return Proxies(web.options.get("proxies", ()), web.text("proxy_header", FORWARDED_FOR.decode()).encode())


def _named(name: str, part: str) -> str:
    """Return the value of a pair of a Forwarded element; empty if there is none. Text in quotes is no pair."""
    return next((match[2] or match[3] for match in _PAIR.finditer(part) if match[1].lower() == name), "")


def _address(text: str) -> IP | None:
    """Parse an address of a header, with or without a port; None for any other text."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
