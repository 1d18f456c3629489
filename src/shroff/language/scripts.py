"""Decimals in digits and marks of other scripts, such as those of Arabic and Devanagari."""

from __future__ import annotations

from unicodedata import category, decimal


def in_ascii(text: str, mark: str) -> str:
    """A written decimal with ASCII digits and marks; letters and currency signs stay."""
    signs = {"\u066b": mark, "\u066c": "." if mark == "," else ",", "\u2212": "-", "\uff0e": ".", "\uff0c": ","}
    shown = (letter for letter in text if category(letter) != "Cf")  # marks of the direction of writing
    return "".join(signs.get(letter) or str(decimal(letter, letter)) for letter in shown)
