"""Passwords: which will do, and their hashes by argon2 with the parameters that its library recommends."""

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
LENGTH_MAX = 1_024  # characters: longer ones only cost time
DIFFERENT_MIN = 5  # characters of one password
REST_MIN = 4  # characters beside the commonest words
AT_ONCE = 2  # hashes of one process; each takes 64 MiB

_SIGNS = "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ "


def check(password: str, *names: str) -> None:
    """Raises: UsageError where a password will not do; the words never show it.

    Args:
        names: Of the user, in any form: what is hardly more than one's own name is guessed first.
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
    """The password as it is hashed: however a keyboard composes its letters, the same ones are the same."""
    return unicodedata.normalize("NFKC", password)


@cache
def _common_words() -> tuple[str, ...]:
    """Words that the commonest passwords of 12 characters and more are made of, with digits and signs around them.

    So a short list of words does the work of a long one of passwords.
    """
    return tuple((resources.files(__package__) / "common_words.txt").read_text("utf-8").split())


def _is_common(text: str, names: tuple[str, ...]) -> bool:
    """Whether nothing is left of it but digits and signs without the commonest words and the user's own names."""
    rest = text.casefold()
    own = {part for name in names for part in _parts_of(name)}
    for word in sorted({*_common_words(), *own}, key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(rest.strip(_SIGNS)) < REST_MIN


def _parts_of(name: str) -> set[str]:
    """A name, and its words of three letters and more."""
    folded = plain(name).casefold()
    words = "".join(sign if sign.isalnum() else " " for sign in folded).split()
    return {part for part in (folded, folded.replace(" ", ""), *words) if len(part) > 2}


class Passwords:
    """Makes hashes and holds passwords against them; only a few at a time, since each takes 64 MiB and 50 ms."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        """`hasher` with other parameters than recommended is for tests."""
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
        """The hash of a password, with its salt and parameters."""
        with self._turn:
            return self._hasher.hash(plain(password))

    def is_right(self, password: str, hash: str) -> bool:
        """Whether this is the password. It takes as long where there is none, so nobody learns who has one."""
        from argon2.exceptions import InvalidHashError, VerificationError

        if len(password) > LENGTH_MAX:
            password = ""  # nobody's: it is looked at all the same
        with self._turn:
            try:
                self._hasher.verify(hash or self._nobodys, plain(password))
            except (InvalidHashError, VerificationError):
                return False
        return bool(hash)

    def is_outdated(self, hash: str) -> bool:
        """Whether the hash was made with other parameters than are in use now."""
        return self._hasher.check_needs_rehash(hash)
