"""Read a request of an asking call (calls.yaml) as a query, and write its result as the call's response."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from msgspec.json import decode as from_json

from shroff.errors import InputError, decode_words
from shroff.json_types import JsonMapping
from shroff.plugins.events import (
    MappedRow,
    canonical_json,
    canonical_text,
    canonical_value,
    row_leaf,
    undeclared,
    value_at,
)
from shroff.plugins.language import RowValue, compile_row
from shroff_plugins.earlier_calls.call_reader import columns_of
from shroff_plugins.earlier_calls.questions import ITEMS_MAX, KINDS, REQUEST, Asked, AskingCall, Part, paths_of

_LACKS = re.compile(r"missing required field `(\w+)`")
_AT = re.compile(r" - at `\$\.?(\w*)[^`]*`")
Columns = Mapping[str, object]
Write = Callable[[MappedRow], str]


class QuestionReader:
    """Reads the requests of one asking call, and writes its responses.

    Args:
        money_places: Decimals of the project's currency.
    """

    def __init__(self, call: AskingCall, money_places: int) -> None:
        self.call, self._type = call, KINDS[call.reads].question
        self._ask = {name: _writer(part, money_places, keeps_null=False) for name, part in call.ask.items()}
        self._write = _writer(call.part, money_places)
        read = {path[0] for path in paths_of(call.ask)}
        self.known = (
            {*call.unread} | read | {path[1] for path in paths_of(call.part) if path[0] == REQUEST and len(path) > 1}
        )

    def questions_of(self, raw: bytes) -> list[tuple[Columns, Asked]]:
        """Return the queries in a body, each with its values. Raises: InputError with the path of each mistake."""
        columns, words = columns_of(raw)
        if columns is None:
            raise InputError([("", words)])
        many = self.call.many
        if not many:
            return [(columns, self.asked(columns))]
        _refuse_unknown(columns, [many])
        items = columns.get(many, list(self.call.default))
        if not isinstance(items, list) or not 0 < len(items) <= ITEMS_MAX:
            raise InputError([(many, f"expected a list of 1 to {ITEMS_MAX} objects")])
        return [(item, self._asked_at(item, f"{many}[{at}]")) for at, item in enumerate(items)]

    def _asked_at(self, item: Any, place: str) -> Asked:
        if not isinstance(item, Mapping):
            raise InputError([(place, "expected an object")])
        try:
            return self.asked(item)
        except InputError as error:
            raise InputError([(f"{place}.{path}".rstrip("."), words) for path, words in error.mistakes]) from None

    def asked(self, columns: Columns) -> Asked:
        """Return the query of one request. Raises: InputError with the path of each mistake."""
        _refuse_unknown(columns, sorted(self.known))
        row = MappedRow("", 0, columns)
        written = list[str]()
        mistakes = list[tuple[str, str]]()
        for name, write in self._ask.items():
            try:
                text = write(row)
            except InputError as error:
                mistakes += error.mistakes
                continue
            if text != "null":
                written.append(f"{canonical_text(name)}:{text}")
        if mistakes:
            raise InputError(mistakes)
        try:
            return from_json(f"{{{','.join(written)}}}".encode("utf-8", "replace"), type=self._type)
        except (ValueError, RecursionError) as error:
            raise InputError([self._mistake(decode_words(error))]) from None

    def answer(self, columns: Columns, found: JsonMapping) -> bytes:
        """Write the response for a result as JSON. Raises: InputError if an expression cannot read a value."""
        rows: Sequence[Columns] = found[KINDS[self.call.reads].rows] if self.call.is_of_rows else [found]
        texts = [self._write(MappedRow("", 0, {**row, REQUEST: columns})) for row in rows]
        text = f"[{','.join(texts)}]" if self.call.is_of_rows else texts[0]
        return text.encode("utf-8", "replace")

    def _mistake(self, words: str) -> tuple[str, str]:
        lacks = _LACKS.search(words)
        at = _AT.search(words)
        if lacks is not None:
            return _place(self.call.ask.get(lacks[1], ())), f"the request has no value for {lacks[1]!r}"
        return _place(self.call.ask.get(at[1] if at is not None else "", ())), _AT.sub("", words)


def _place(part: Part) -> str:
    """Return the common path in the request of all values that a part of the query reads."""
    same = takewhile(lambda names: len(set(names)) == 1, zip(*paths_of(part), strict=False))
    return ".".join(names[0] for names in same)


def _refuse_unknown(columns: Columns, known: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise InputError(undeclared(unknown, known, "this call reads no such value", "It reads"))


def _writer(part: Part, money_places: int, *, keeps_null: bool = True) -> Write:
    """Return the function that writes a part as JSON; without `keeps_null`, it omits nulls in lists and objects."""
    if isinstance(part, Mapping):
        named = [
            (canonical_text(name), _writer(member, money_places, keeps_null=keeps_null))
            for name, member in part.items()
        ]
        return lambda row: f"{{{','.join(_pairs(row, named, keeps_null=keeps_null))}}}"
    if isinstance(part, tuple):
        listed = [_writer(member, money_places, keeps_null=keeps_null) for member in part]
        return lambda row: f"[{','.join(text for write in listed if (text := write(row)) != 'null' or keeps_null)}]"
    if isinstance(part, RowValue):
        read = value_at(part.path)
        return lambda row: canonical_json(read(row))
    evaluate = compile_row(part, row_leaf, strict=True)
    type_ = part.type
    place = _place(part)

    def write(row: MappedRow) -> str:
        try:
            return canonical_value(evaluate(row), type_, money_places)
        except (ValueError, OverflowError) as error:
            raise InputError([(place, str(error))]) from None

    return write


def _pairs(row: MappedRow, named: Sequence[tuple[str, Write]], *, keeps_null: bool) -> Iterator[str]:
    for name, write in named:
        text = write(row)
        if keeps_null or text != "null":
            yield f"{name}:{text}"
