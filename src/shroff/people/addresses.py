"""Mail addresses: which are accepted, how to distinguish them without storing them, and how they are shown."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from email.headerregistry import Address

LENGTH_MAX = 254  # characters of an SMTP path without its brackets
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


def is_address(text: str) -> bool:
    r"""Whether a text is one plain address, in characters that every server accepts.

    Names, lists, quotes, comments and line breaks are rejected, so that an event can never add a second recipient or a
    header.

    >>> is_address("ann@bank.example"), is_address("ann@bank.example, eve@x.example"), is_address("a\nb@c.example")
    (True, False, False)
    """
    if len(text) > LENGTH_MAX or len(text.partition("@")[0]) > 64 or not _ADDRESS.fullmatch(text):
        return False
    try:
        return Address(addr_spec=text).addr_spec == text
    except (ValueError, IndexError):
        return False


_ANY = re.compile(r"""[^\s<>()\[\]"',:;]+@[^\s<>()\[\]"',:;]+""")  # what looks like an address in somebody else's text


def who_of(key: bytes, addresses: Sequence[str]) -> bytes:
    """Return a keyed hash that stands for recipients, so that no address is stored. Case does not matter."""
    text = "\n".join(sorted(address.lower() for address in addresses))
    return hmac.new(key, f"shroff recipient 1\n{text}".encode(), hashlib.sha256).digest()


def masked(address: str) -> str:
    """Mask an address for people who need not know it.

    >>> masked("ann.smith@bank.example")
    'a…@bank.example'
    """
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}…@{domain}"


def with_masked(message: str) -> str:
    """Mask the addresses in a text of a mail server, which often repeats the refused one.

    >>> with_masked("550 5.1.1 <ann.smith@bank.example>: no such mailbox")
    '550 5.1.1 <a…@bank.example>: no such mailbox'
    """
    return _ANY.sub(lambda word: masked(word.group()), message)
