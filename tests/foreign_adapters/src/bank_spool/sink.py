"""A sink: each decision or flag is one line of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shroff.plugins.adapters import AwayError, Outgoing, Undelivered
from shroff.plugins.settings import FILE, WHOLE, AdapterSettings, Required, mapping_shape


class SpoolSettings:
    """A file of lines.

    file: Where lines are added.
        Example: out/decisions.jsonl
    longest: The longest row that is taken, in bytes.
        Default: 100000
    """

    file = Required(FILE)
    longest = WHOLE


class SpoolSink:
    """A file of lines. Durable when `send` returns."""

    settings = AdapterSettings("Lines of a file.", mapping_shape(SpoolSettings))
    wants_fields = False
    places_max = 500

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._file, self._longest = Path(options["file"]), int(options.get("longest", "100000"))

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        from bank_spool.client import add  # as late as this, so that `shroff check` does without it

        taken = [row for row in rows if len(row.body) <= self._longest]
        try:
            add(self._file, b"".join(row.body + b"\n" for row in taken))
        except OSError as error:
            raise AwayError(f"{self._file.name} cannot be written: {error.strerror}") from None
        return [Undelivered(row, f"longer than {self._longest} bytes") for row in rows if row not in taken]

    def close(self) -> None:
        """There is nothing to let go of."""
