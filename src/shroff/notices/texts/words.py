"""The words of the texts that come with shroff, in each language; a project may have texts of its own instead.

They stand in `languages/`, a file for each, which is read when somebody first asks for its words.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, TypeVar

from shroff.json_types import JsonMapping, TextMapping

LANGUAGES = ("en", "de")
Value = TypeVar("Value")


@cache
def _read(language: str) -> JsonMapping:
    return tomllib.loads((resources.files(__package__) / "languages" / f"{language}.toml").read_text("utf-8"))


class _ByLanguage(Mapping[str, Value]):
    """One part of what each language has, and what it is."""

    def __init__(self, part: str, meaning: str) -> None:
        self._part, self.meaning = part, meaning

    def __getitem__(self, language: str) -> Value:
        if language not in LANGUAGES:
            raise KeyError(language)
        value: Value = _read(language)[self._part]
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(LANGUAGES)

    def __len__(self) -> int:
        return len(LANGUAGES)


MONTHS: Final[Mapping[str, Sequence[str]]] = _ByLanguage("months", "Months by language.")
DAYS: Final[Mapping[str, Sequence[str]]] = _ByLanguage("days", "Days of the week by language, from Monday on.")
MARKS: Final[Mapping[str, Sequence[str]]] = _ByLanguage(
    "marks", "Signs between thousands and before places, by language."
)
WORDS: Final[Mapping[str, TextMapping]] = _ByLanguage("words", "Words of the texts by language, by their names.")
