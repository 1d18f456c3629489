"""A made-up bank's log with its lake, which grows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank, with_labels
from shroff.services import project as app

PAYMENTS: Final = 2_000


class Recorded:
    """A project with a log and a lake. The bank has this many payments, in few customers' names."""

    def __init__(self, folder: Path, payments: int = PAYMENTS) -> None:
        self._lake = folder / "lake"
        self._file = folder / "events.jsonl"
        shutil.copytree(TEMPLATE_FOLDER / "payments", folder / "project")
        with (folder / "project" / "shroff.yaml").open("a", encoding="utf-8") as settings:
            settings.write(f"\nlake: {msgspec.json.encode(str(self._lake)).decode()}\n")
        self.project = app.open(folder / "project")
        self._lines: Iterator[Any] = with_labels(bank(payments, seed=5), seed=5)

    def grow(self, count: int) -> None:
        """Ingest this many more events and labels, and write the lake."""
        kinds = ((line.event, "label" if "verdict" in line.event else "payment") for line in islice(self._lines, count))
        self._file.write_bytes(b"".join(msgspec.json.encode({kind: event}) + b"\n" for event, kind in kinds))
        self.project.ingest([self._file])
        with self.project.lake.open() as lake:
            lake.write()
