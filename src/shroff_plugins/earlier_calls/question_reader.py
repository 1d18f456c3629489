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
from shroff_plugins.earlier_calls.questions import ITEMS_MAX, KINDS, REQUEST, AskingCall, CallQuery, Part, paths_of

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
        self.call = call
        self._type = KINDS[call.reads].question
        self._ask = {name: _writer(part, money_places, keeps_null=False) for name, part in call.ask.items()}
        self._write = _writer(call.part, money_places)
        read_names = {path[0] for path in paths_of(call.ask)}
        self.known = (
            {*call.unread}
            | read_names
            | {path[1] for path in paths_of(call.part) if path[0] == REQUEST and len(path) > 1}
        )

    def questions_of(self, raw: bytes) -> list[tuple[Columns, CallQuery]]:
        """Return the queries in a body, each with its values. Raises: InputError with the path of each mistake."""
        columns, error = columns_of(raw)
        if columns is None:
            raise InputError([("", error)])
        many = self.call.many
        if not many:
            return [(columns, self.query_of(columns))]
        _refuse_unknown(columns, [many])
        items = columns.get(many, list(self.call.default))
        if not isinstance(items, list) or not 0 < len(items) <= ITEMS_MAX:
            raise InputError([(many, f"expected a list of 1 to {ITEMS_MAX} objects")])
        return [(item, self._question_at(item, f"{many}[{index}]")) for index, item in enumerate(items)]

    def _question_at(self, item: Any, location: str) -> CallQuery:
        if not isinstance(item, Mapping):
            raise InputError([(location, "expected an object")])
        try:
            return self.query_of(item)
        except InputError as error:
            raise InputError(
                [(f"{location}.{path}".rstrip("."), message) for path, message in error.mistakes]
            ) from None

    def query_of(self, columns: Columns) -> CallQuery:
        """Return the query of one request. Raises: InputError with the path of each mistake."""
        _refuse_unknown(columns, sorted(self.known))
        row = MappedRow("", 0, columns)
        members = list[str]()
        problems = list[tuple[str, str]]()
        for name, write in self._ask.items():
            try:
                text = write(row)
            except InputError as error:
                problems += error.mistakes
                continue
            if text != "null":
                members.append(f"{canonical_text(name)}:{text}")
        if problems:
            raise InputError(problems)
        try:
            return from_json(f"{{{','.join(members)}}}".encode("utf-8", "replace"), type=self._type)
        except (ValueError, RecursionError) as error:
            raise InputError([self._locate(decode_words(error))]) from None

    def answer(self, columns: Columns, result: JsonMapping) -> bytes:
        """Write the response for a result as JSON. Raises: InputError if an expression cannot read a value."""
        rows: Sequence[Columns] = result[KINDS[self.call.reads].rows] if self.call.is_of_rows else [result]
        texts = [self._write(MappedRow("", 0, {**row, REQUEST: columns})) for row in rows]
        text = f"[{','.join(texts)}]" if self.call.is_of_rows else texts[0]
        return text.encode("utf-8", "replace")

    def _locate(self, message: str) -> tuple[str, str]:
        lacks = _LACKS.search(message)
        match = _AT.search(message)
        if lacks is not None:
            return _common_path(self.call.ask.get(lacks[1], ())), f"the request has no value for {lacks[1]!r}"
        return _common_path(self.call.ask.get(match[1] if match is not None else "", ())), _AT.sub("", message)


def _common_path(part: Part) -> str:
    """Return the common path in the request of all values that a part of the query reads."""
    same = takewhile(lambda names: len(set(names)) == 1, zip(*paths_of(part), strict=False))
    return ".".join(names[0] for names in same)


def _refuse_unknown(columns: Columns, read_names: Sequence[str]) -> None:
    unknown = [name for name in columns if name not in read_names]
    if unknown:
        raise InputError(undeclared(unknown, read_names, "this call reads no such value", "It reads"))


def _writer(part: Part, money_places: int, *, keeps_null: bool = True) -> Write:
    """Return the function that writes a part as JSON; without `keeps_null`, it omits nulls in lists and objects."""
    if isinstance(part, Mapping):
        writers = [
            (canonical_text(name), _writer(member, money_places, keeps_null=keeps_null))
            for name, member in part.items()
        ]
        return lambda row: f"{{{','.join(_pairs(row, writers, keeps_null=keeps_null))}}}"
    if isinstance(part, tuple):
        listed = [_writer(member, money_places, keeps_null=keeps_null) for member in part]

        def write_list(row: MappedRow) -> str:
            texts = [write(row) for write in listed]
            return f"[{','.join(text for text in texts if keeps_null or text != 'null')}]"

        return write_list
    if isinstance(part, RowValue):
        value_of = value_at(part.path)
        return lambda row: canonical_json(value_of(row))
    evaluate = compile_row(part, row_leaf, strict=True)
    type_ = part.type
    location = _common_path(part)

    def write(row: MappedRow) -> str:
        try:
            return canonical_value(evaluate(row), type_, money_places)
        except (ValueError, OverflowError) as error:
            raise InputError([(location, str(error))]) from None

    return write


def _pairs(row: MappedRow, writers: Sequence[tuple[str, Write]], *, keeps_null: bool) -> Iterator[str]:
    for name, write in writers:
        text = write(row)
        if keeps_null or text != "null":
            yield f"{name}:{text}"
