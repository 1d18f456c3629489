"""Which addresses of mail are taken."""

from __future__ import annotations

import re
from email.headerregistry import Address
from typing import Final

LENGTH_MAX: Final = 254  # of a path in SMTP, without its brackets
_ADDRESS: Final = re.compile(
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
