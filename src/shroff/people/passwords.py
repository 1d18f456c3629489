"""Passwords: which are accepted, and their hashes by argon2 with the parameters recommended by its library."""

from __future__ import annotations

import unicodedata
from functools import cache, cached_property
from importlib import resources
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from shroff.errors import UsageError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

LENGTH_MIN = 12
LENGTH_MAX = 1_024  # characters; longer ones would only cost time
DIFFERENT_MIN = 5  # distinct characters
REST_MIN = 4  # characters besides common words
AT_ONCE = 2  # concurrent hashes of a process; each takes 64 MiB

_SIGNS = "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "


def check(password: str, *names: str) -> None:
    """Raise UsageError if a password is too weak; the message never shows it.

    Args:
        names: Names of the user in any form. A password close to them is rejected, because it is guessed first.
    """
    text = plain(password)
    if len(text) < LENGTH_MIN:
        raise UsageError(f"a password has {LENGTH_MIN} characters at least; four words that do not belong together do.")
    if len(text) > LENGTH_MAX:
        raise UsageError(f"a password has {LENGTH_MAX:,} characters at most.")
    if len(set(text)) < DIFFERENT_MIN:
        raise UsageError(f"this password has fewer than {DIFFERENT_MIN} different characters. Take another one.")
    if _is_common(text, names):
        raise UsageError("this password is among the first that are guessed. Take another one.")


def plain(password: str) -> str:
    """Normalize a password before hashing, since keyboards may compose equal letters differently."""
    return unicodedata.normalize("NFKC", password)


@cache
def _common_words() -> tuple[str, ...]:
    """Return the words from which the most common passwords of at least 12 characters are made, with digits and signs.

    A short list of words replaces a long list of passwords.
    """
    return tuple((resources.files(__package__) / "common_words.txt").read_text("utf-8").split())


def _is_common(text: str, names: tuple[str, ...]) -> bool:
    """Whether little more than digits and signs remains after removing common words and the user's names."""
    remainder = text.casefold()
    own_words = {part for name in names for part in _parts_of(name)}
    for word in sorted({*_common_words(), *own_words}, key=len, reverse=True):
        remainder = remainder.replace(word, "")
    return len(remainder.strip(_SIGNS)) < REST_MIN


def _parts_of(name: str) -> set[str]:
    folded = plain(name).casefold()
    parts = "".join(sign if sign.isalnum() else " " for sign in folded).split()
    return {part for part in (folded, folded.replace(" ", ""), *parts) if len(part) > 2}


class Passwords:
    """Hashes and verifies passwords, few at a time, since each takes 64 MiB and 50 ms."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """Set up with the recommended parameters; tests pass a cheaper `hasher`."""
        self._given = hasher
        self._turn = BoundedSemaphore(AT_ONCE)

    @cached_property
    def _hasher(self) -> PasswordHasher:
        from argon2 import PasswordHasher

        return self._given or PasswordHasher()

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash("the password of nobody")

    def hash(self, password: str) -> str:
        """Hash a password, with its salt and parameters."""
        with self._turn:
            return self._hasher.hash(plain(password))

    def is_right(self, password: str, hash: str) -> bool:
        """Whether the password is right. Without a hash it takes the same time, so that nobody learns who has a
        password.
        """
        from argon2.exceptions import InvalidHashError, VerificationError

        if len(password) > LENGTH_MAX:
            password = ""  # nobody's password, verified to take the same time
        with self._turn:
            try:
                self._hasher.verify(hash or self._nobodys, plain(password))
            except (InvalidHashError, VerificationError):
                return False
        return bool(hash)

    def is_outdated(self, hash: str) -> bool:
        """Whether the hash was made with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(hash)
