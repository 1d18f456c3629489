"""Schemas in memory: for tests, and for whoever tries Avro without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from shroff.errors import UsageError
from shroff.events.avro.schema import read_schema
from shroff.events.formats.schemas import Registered

LEVEL: Final = "NONE"


class MemoryRegistry:
    """A schema registry inside this process. Keeps every promise of `events.formats.schemas.SchemaRegistry`."""

    def __init__(self) -> None:
        self.address = "memory"
        self._texts: list[str] = []
        self._subjects: dict[str, list[Registered]] = {}

    def schema(self, id: int) -> str | None:
        return self._texts[id - 1] if 0 < id <= len(self._texts) else None

    def latest(self, subject: str) -> Registered | None:
        found = self._subjects.get(subject)
        return found[-1] if found else None

    def versions(self, subject: str) -> list[int]:
        return [item.version for item in self._subjects.get(subject, ())]

    def register(self, subject: str, schema: str) -> int:
        try:
            read_schema(schema)
        except ValueError as error:
            raise UsageError(f"the registry refuses the schema of {subject}: {error}") from None
        versions = self._subjects.setdefault(subject, [])
        known = next((version.id for version in versions if _same(version.schema, schema)), None)
        if known is not None:
            return known
        id_ = next((at for at, text in enumerate(self._texts, 1) if _same(text, schema)), 0)
        if not id_:
            self._texts.append(schema)
            id_ = len(self._texts)
        versions.append(Registered(subject, len(versions) + 1, id_, schema))
        return id_

    def refusal(self, subject: str, schema: str) -> str:
        return ""

    def level(self, subject: str) -> str:
        return LEVEL

    def close(self) -> None:
        """Nothing is open."""


def _same(text: str, other: str) -> bool:
    found: Mapping[str, Any] = json.loads(text)
    return bool(found == json.loads(other))
