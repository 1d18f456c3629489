"""Texts with signs that PostgreSQL cannot hold, as it can."""

from __future__ import annotations

from typing import Final

# A NUL cannot stand in a text of PostgreSQL; so that none is lost, the escape sign is escaped as well.
ESCAPE: Final = "\x1a"
_NUL: Final = f"{ESCAPE}0"
_ESCAPE_ITSELF: Final = f"{ESCAPE}S"


def escaped(text: str) -> str:
    """The text as PostgreSQL can hold it."""
    if "\0" in text or ESCAPE in text:
        return text.replace(ESCAPE, _ESCAPE_ITSELF).replace("\0", _NUL)
    return text


def unescaped(text: str) -> str:
    """The text that was escaped."""
    if ESCAPE not in text:
        return text
    return "".join(
        part if number == 0 else {"0": "\0", "S": ESCAPE}[part[0]] + part[1:]
        for number, part in enumerate(text.split(ESCAPE))
    )
