"""Words of the built-in texts in each language; a project may replace the texts by its own.

Each language is a file in `languages/`, read on first use.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Final, TypeVar

from shroff.json_types import JsonMapping, TextMapping
from shroff.operations.numbers import name_of

LANGUAGES = ("en", "de")
Value = TypeVar("Value")


# Words of mails for numbers, which come from the table of numbers.
NUMBER_OF_WORD: Final = {
    "approve": "approved",
    "challenge": "challenged",
    "review": "reviewed",
    "decline": "declined",
    "together": "events",
    "caught": "found_stopped",
    "missed": "found_approved",
    "false_alarms": "found_genuine",
    "answers_yes": "customers_yes",
    "answers_no": "customers_no",
}


@cache
def _read_language(language: str) -> JsonMapping:
    document = tomllib.loads((resources.files(__package__) / "languages" / f"{language}.toml").read_text("utf-8"))
    document["words"] |= {word: name_of(number, language) for word, number in NUMBER_OF_WORD.items()}
    return document


class _ByLanguage(Mapping[str, Value]):
    """One section of the language files, by language, with its meaning."""

    def __init__(self, part: str, meaning: str) -> None:
        self._part = part
        self.meaning = meaning

    def __getitem__(self, language: str) -> Value:
        if language not in LANGUAGES:
            raise KeyError(language)
        value: Value = _read_language(language)[self._part]
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
