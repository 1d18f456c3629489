"""Lines as Avro messages, by schemas of a registry: what a bank's own producers send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from typing import Any, Final

import msgspec

from shroff.adapters.registry.http import HttpRegistry
from shroff.events.avro.schema import schema_of
from shroff.runtime.values import replace
from shroff.services import project as app

from .faults_input import Line

FORMS: Final = {"amount": Decimal, "paid_at": datetime.fromisoformat, "known_at": datetime.fromisoformat}


class Encoder:
    """Writes payments and labels; what is broken goes as it is.

    Args:
        registry: Its address, for the sender.
    """

    def __init__(self, registry: str, project: app.Project) -> None:
        events, settings = project.definitions.events, project.definitions.settings
        self._registry = registry
        types = {"payment": events.types["payment"], "label": events.label_input}
        self._schemas = {name: schema_of(type_, settings) for name, type_ in types.items()}
        self._versions = 0
        self._writers: dict[str, tuple[bytes, Any]] = {}
        self.renew()

    def renew(self) -> None:
        """Write by new versions from now on, which no worker has seen: each with one more optional field."""
        import fastavro

        self._versions += 1
        more = {"name": f"more_{self._versions}", "type": ["null", "string"], "default": None}
        with closing(HttpRegistry(self._registry)) as registry:
            for name, schema in self._schemas.items():
                wider = {**schema, "fields": [*schema["fields"], more]}
                id_ = registry.register(f"faults-{schema['namespace']}-{name}-{self._versions}", json.dumps(wider))
                self._writers[name] = b"\0" + id_.to_bytes(4), fastavro.parse_schema(wider)

    def encoded(self, line: Line) -> Line:
        """The line with the bytes of its message."""
        if line.kind == "broken":
            return line
        ((name, fields),) = msgspec.json.decode(line.raw).items()
        head, schema = self._writers[name]
        return replace(line, raw=head + _written(schema, fields))


def _written(schema: Any, fields: Mapping[str, str]) -> bytes:
    import fastavro

    stream = BytesIO()
    fastavro.schemaless_writer(stream, schema, {name: FORMS.get(name, str)(text) for name, text in fields.items()})
    return stream.getvalue()
