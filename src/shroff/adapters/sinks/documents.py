"""Compute documents with names and expressions of the user's choice from outgoing decisions or flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.json import decode as from_json

from shroff.errors import UsageError
from shroff.events.event import canonical_value, time_text_or_none
from shroff.events.mapping import MappedRow, row_leaf, value_at
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.language.checker import check
from shroff.language.expression import RowValue
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import compile_row
from shroff.language.syntax import ExpressionError
from shroff.streams.sink import Outgoing

Read = Callable[[MappedRow], Any]


def document_readers(document: TextMapping) -> dict[str, Read]:
    """Compile the expression of each name. Raises: UsageError that names an invalid expression."""
    return {name: _reader(name, text) for name, text in document.items()}


def document_mistake(options: JsonMapping) -> str:
    try:
        document_readers(options.get("document", {}))
    except UsageError as error:
        return str(error)
    return ""


def mapped_document(row: Outgoing, readers: Mapping[str, Read]) -> JsonObject:
    """Return the document of a row; missing values are None."""
    moments = {"event_time": row.time_ms, "ingest_time": row.at_ms}
    columns = {
        **from_json(row.body),
        "fields": from_json(row.fields or b"{}"),
        **{name: time_text_or_none(at_ms) for name, at_ms in moments.items()},
    }
    line = MappedRow("", 0, columns)
    return {name: value_of(line) for name, value_of in readers.items()}


def _reader(name: str, text: str) -> Read:
    try:
        node = check(text, Scope(DeclaredNames(), what="a document", reads_row=True))
    except ExpressionError as error:
        raise UsageError(f"{name}: {error.message}. {error.hint}".rstrip()) from None
    if isinstance(node, RowValue):
        return value_at(node.path)
    type_ = node.type
    if type_.kind == "money":
        raise UsageError(f"{name}: money has no form of its own in a document: leave money( ) out, or write number( ).")
    evaluate = compile_row(node, row_leaf)
    return lambda row: from_json(canonical_value(evaluate(row), type_, 0))
