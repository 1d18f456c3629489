"""Decodes stored decisions; content that was changed after it was written is reported as damage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec
from msgspec.json import decode as from_json

from shroff.engine.decision import Decision, kind_of
from shroff.errors import DefinitionError, StorageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.rules.keys import EXPERIMENT
from shroff.streams.log import DecisionRow

# The parts of an amount of `money in`, in documents and in tables of decisions.
AMOUNT_PARTS = ("amount", "original", "currency", "rate", "remark")
RESTORE = "Do not write to this log: restore the last backup, and feed the sources again"

_Stored = TypeVar("_Stored")


def stored(data: bytes, type: type[_Stored], noun: str) -> _Stored:
    """Decode a stored body as a value of its type.

    Args:
        noun: Names the body in an error message, such as `the label at sequence number 7`.

    Raises: StorageError if the program cannot have written the bytes.
    """
    try:
        return from_json(data, type=type)
    except ValueError as error:  # also raised for invalid UTF-8
        raise damaged(noun, error) from None


def decision_document(row: DecisionRow) -> JsonObject:
    """Return the document of a decision, its fields in order. Raises: StorageError if it is damaged."""
    document: JsonObject = msgspec.to_builtins(decision_of(row))
    return {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}


def decision_of(row: DecisionRow) -> Decision:
    """Decode a recorded decision. Raises: StorageError if it is damaged."""
    return stored(row.document, kind_of(row.document), f"the decision at sequence number {row.seq}")


def damaged(noun: str, error: object) -> StorageError:
    return StorageError(f"{noun} cannot be read, so the log is damaged ({error}). {RESTORE}")


@contextmanager
def telling_damage() -> Iterator[None]:
    """Report a version in the log that can no longer be read as damage of the log.

    A version becomes active only if it can be read, so it has changed since.
    """
    try:
        yield
    except DefinitionError as error:
        first = error.problems[0]
        raise StorageError(
            f"the active version at that time cannot be read: {first.file} {first.path}: {first.message} "
            f"The log is damaged, or another version of shroff wrote it. {RESTORE}, or use that version"
        ) from None


def rule_reasons(document: JsonMapping) -> list[JsonMapping]:
    """Return the reasons of active rules that hit, without the reason of an experiment in arm B."""
    return [reason for reason in document["reasons"] if reason["effect"] != EXPERIMENT]


def active_rules(document: JsonMapping) -> list[str]:
    """Return the sorted ids of active rules that hit; `rules` of a decision also names an experiment in arm B."""
    experiments = {reason["code"] for reason in document["reasons"] if reason["effect"] == EXPERIMENT}
    return [rule for rule in document["rules"] if rule not in experiments]
