"""A live source: files to which others add lines. A part is a file, its offset the number of lines that were read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from shroff.errors import StateError
from shroff.plugins.adapters import Decoder, Health, Merge, PartLag, PolledMessages, System, split_offset, stored_offset
from shroff.plugins.log import Refused
from shroff.plugins.settings import FILE, OUTSIDE_NAME, AdapterSettings, Key, MappingShape, own_names


def _at_address(parts: SplitResult) -> dict[str, Any]:
    """`spool:in/payments.jsonl`: one file whose lines tell their types themselves."""
    folder, _, file = parts.path.rpartition("/")
    if not file:
        raise ValueError("the address of a spool ends with its file, as in spool:in/payments.jsonl.")
    return {"folder": folder or ".", "files": {"any": file}}


class SpoolSource:
    """Files of lines."""

    settings = AdapterSettings(
        "Lines that are added to files.",
        MappingShape(
            "files of lines",
            (
                Key("folder", "Where the files are.", FILE, is_required=True, examples=("in",)),
                Key(
                    "files",
                    "The file of each event type.",
                    own_names("event types with their files", OUTSIDE_NAME),
                    is_required=True,
                    examples=("{ payment: payments.jsonl }",),
                ),
            ),
        ),
        schemes={"spool": None},
        form="spool:FOLDER/FILE",
        from_address=_at_address,
        types="files",
    )
    name = "spool"
    takes_refused = False

    def __init__(self, system: System, decoder: Decoder, *, project: str, merge: Merge) -> None:
        self._folder, self._decoder, self._merge = Path(system.text("folder")), decoder, merge
        self._types = {file: None if type == "any" else type for type, file in system.options["files"].items()}
        self._read: dict[str, int] = {}

    def start(self, offsets: Mapping[str, str]) -> None:
        self._merge.clear()
        for part, type in self._types.items():
            offset, before = split_offset(offsets.get(part, "0"))
            self._read[part] = int(offset)
            if int(offset) > len(self._lines(part)):
                raise StateError(f"{part} is shorter than what was read of it")
            self._merge.open(part, type, before)

    def look(self, offsets: Mapping[str, str]) -> list[PartLag]:
        at = {part: int(split_offset(offsets.get(part, "0"))[0]) for part in self._types}
        return [PartLag(part, len(self._lines(part)) - at[part]) for part in sorted(self._types)]

    def poll(self, limit: int, timeout_s: float) -> list[PolledMessages]:
        until_s = time.monotonic() + timeout_s
        while not (found := self._polled(limit)) and time.monotonic() < until_s:
            time.sleep(0.01)
        return found

    def _polled(self, limit: int) -> list[PolledMessages]:
        for part in self._types:
            begin = self._read[part]
            new = self._lines(part)[begin : begin + limit]
            self._read[part] += len(new)
            self._merge.add(part, [self._decoder.line(number, raw) for number, raw in enumerate(new, begin)])
            self._merge.pass_by(part)
        return [
            PolledMessages(
                part, self._types[part], self._decoder.format, lines, stored_offset(str(lines[-1].number + 1), before)
            )
            for part, lines, before in self._merge.take(limit)
        ]

    def _lines(self, part: str) -> list[bytes]:
        file = self._folder / part
        return file.read_bytes().split(b"\n")[:-1] if file.exists() else []

    def acknowledge(self, offsets: Mapping[str, str]) -> None:
        """Nobody outside wants to know."""

    def refuse(self, refused: Sequence[Refused]) -> None:
        """There is no place for dead letters."""

    def health(self) -> Health:
        return Health(sum(len(self._lines(part)) - read for part, read in self._read.items()))

    def close(self) -> None:
        """There is nothing to let go of."""
