"""From where a request comes that a proxy brought: what proxies say of it is believed of those alone that are named.

Whoever sends a request writes what they like into its head; a proxy puts behind it from whom it has the request. So the
addresses are read from the last one on: it is the sender's as long as those behind it are proxies that are named.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from shroff.events.systems import System

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
FORWARDED: Final = b"forwarded"
FORWARDED_FOR: Final = b"x-forwarded-for"
_FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^;",\s]*))', re.IGNORECASE)
_PARTS: Final = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')  # commas outside of what stands in quotation marks


class Proxies:
    """The proxies before a service.

    Args:
        networks: Their addresses or networks, such as 10.0.0.0/8.
        header: In which of the two they say from whom they have a request. The other is never read: a proxy that does
            not write it passes on what somebody forged.
    """

    def __init__(self, networks: Sequence[str] = (), header: bytes = FORWARDED_FOR) -> None:
        self._networks = [ipaddress.ip_network(one, strict=False) for one in networks]
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

    def _has(self, address: IP) -> bool:
        return any(address in one for one in self._networks)

    def _hops(self, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[str]:
        """What the head says from whom each proxy had it, the last one first."""
        values = [value.decode("latin-1") for name, value in headers if name == self._header]
        for value in reversed(values):
            if self._header == FORWARDED_FOR:
                yield from reversed(value.split(","))
                continue
            for part in reversed(_PARTS.split(value)):
                named = _FOR.search(part)
                yield "" if named is None else named[1] or named[2]


def proxies_of(web: System) -> Proxies:
    """The proxies that shroff.yaml names."""
    return Proxies(web.options.get("proxies", ()), web.text("proxy_header", FORWARDED_FOR.decode()).encode())


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
