"""Addresses of mail: which are taken, how they are kept apart without being kept, and how they are shown."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from email.headerregistry import Address

LENGTH_MAX = 254  # of a path in SMTP, without its brackets
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


def is_address(text: str) -> bool:
    r"""Whether this is one plain address, of letters that every server takes.

    No name beside it, no list, no quotes, no comment, no line break: what an event says can never be a second
    recipient or a header.

    >>> is_address("ann@bank.example"), is_address("ann@bank.example, eve@x.example"), is_address("a\nb@c.example")
    (True, False, False)
    """
    if len(text) > LENGTH_MAX or len(text.partition("@")[0]) > 64 or not _ADDRESS.fullmatch(text):
        return False
    try:
        return Address(addr_spec=text).addr_spec == text
    except (ValueError, IndexError):
        return False


_ANY = re.compile(r"""[^\s<>()\[\]"',:;]+@[^\s<>()\[\]"',:;]+""")  # what looks like one in words of others


def who_of(key: bytes, addresses: Sequence[str]) -> bytes:
    """Stand-in for recipients where no address is kept: a keyed hash. Case does not matter."""
    text = "\n".join(sorted(address.lower() for address in addresses))
    return hmac.new(key, f"shroff recipient 1\n{text}".encode(), hashlib.sha256).digest()


def masked(address: str) -> str:
    """An address for people who need not know it.

    >>> masked("ann.smith@bank.example")
    'a…@bank.example'
    """
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}…@{domain}"


def with_masked(words: str) -> str:
    """Words of a mail server, in which it likes to repeat the address that it refuses, for people who need not know it.

    >>> with_masked("550 5.1.1 <ann.smith@bank.example>: no such mailbox")
    '550 5.1.1 <a…@bank.example>: no such mailbox'
    """
    return _ANY.sub(lambda word: masked(word.group()), words)
