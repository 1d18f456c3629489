"""From where a request comes that a proxy brought: what proxies say of it is believed of those alone that are named.

Whoever sends a request writes what they like into its head; a proxy puts behind it from whom it has the request. So the
addresses are read from the last one on: it is the sender's as long as those behind it are proxies that are named.
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
READ_MAX = 1_024  # characters of a Forwarded header: some 20 proxies
HOPS_MAX = 50  # last entries read of an X-Forwarded-For header
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PAIR = re.compile(rf'(?:^|;)\s*(\w+)\s*=\s*(?:{_QUOTED}|([^;",\s]*))')
_PART = re.compile(rf"(?:{_QUOTED}|[^,])+")  # up to a comma outside of what stands in quotation marks


class Proxies:
    """The proxies before a service.

    Args:
        networks: Their addresses or networks, such as 10.0.0.0/8.
        header: In which of the two they say from whom they have a request. The other is never read: a proxy that does
            not write it passes on what somebody forged. Whether they were asked over TLS stands in X-Forwarded-Proto
            beside the one, in the other itself.
    """

    def __init__(self, networks: Sequence[str] = (), header: bytes = FORWARDED_FOR) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]
        self._header = header

    def sender(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """The address from which a request comes, by the one that connected and by the request's head."""
        if not self._networks:
            return peer
        found = _address(peer)
        if found is None or not self._has(found):
            return peer
        for text in self._hops(headers):
            before = _address(text)
            if before is None:  # no address, or one that a proxy hides: who wrote what stands before it nobody knows
                break
            found = before
            if not self._has(found):
                break
        return str(found)

    def is_encrypted(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether the proxy that connected says that it was asked over TLS; of nobody else that is believed.

        Of several the last one counts: that proxy wrote it.
        """
        if not self.has(peer):
            return False
        if self._header == FORWARDED_FOR:
            said = [value for name, value in headers if name == FORWARDED_PROTO]
            return bool(said) and said[-1].rpartition(b",")[2].strip().lower() == b"https"
        return _named("proto", next(self._parts(headers), "")).lower() == "https"

    def has(self, peer: str) -> bool:
        found = _address(peer) if self._networks else None
        return found is not None and self._has(found)

    def _has(self, address: IP) -> bool:
        return any(address in network for network in self._networks)

    def _hops(self, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
        for part in self._parts(headers):
            yield part if self._header == FORWARDED_FOR else _named("for", part)

    def _parts(self, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
        values = [value.decode("latin-1") for name, value in headers if name == self._header]
        if self._header == FORWARDED and sum(map(len, values)) > READ_MAX:
            return  # cut in two it could mean something else, and quotes that do not close are searched for many times
        for value in reversed(values):
            if self._header == FORWARDED_FOR:
                yield from reversed(value.rsplit(",", HOPS_MAX)[-HOPS_MAX:])
            else:
                yield from reversed([match[0] for match in _PART.finditer(value)])


def proxies_of(web: System) -> Proxies:
    return Proxies(web.options.get("proxies", ()), web.text("proxy_header", FORWARDED_FOR.decode()).encode())


def _named(name: str, part: str) -> str:
    """Return a proxy's value of a pair of the standard header, never a part of a quoted text."""
    return next((match[2] or match[3] for match in _PAIR.finditer(part) if match[1].lower() == name), "")


def _address(text: str) -> IP | None:
    """An address as heads have them, with a port or without; None for anything else."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return found if mapped is None else mapped
