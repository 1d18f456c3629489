"""What an event takes on disk, by table of the log: pages of the file, and the bytes of rows in them.

The made-up bank's payments are ingested into SQLite, once for each project. The tables' pages come from SQLite's
`dbstat`. The last rows show entities whose keys come once, for which the index of keys is largest.

    python -m bench.disk [--events 300000]
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.ingest import CASES, FORTY, fresh_project, ingest_process, write_lines
from bench.machine import describe, write_result

ONE_TIME = "40 features, 10 rules, each card pays once"


class TableBytes(NamedTuple):
    """Bytes an event: pages of the file, and rows in them."""

    table: str
    pages: float
    rows: float


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    events = arguments.parse_args().events
    tables = dict[str, list[TableBytes]]()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = write_lines(folder / "payments.jsonl", events)
        for name, title in CASES.items():
            tables[title] = measure(name, folder, lines)
        tables[ONE_TIME] = measure(FORTY, folder, with_new_cards(lines, folder / "new_cards.jsonl"))
    text = report(events, tables)
    sys.stdout.write(text)
    write_result("disk", text)
    return 0


def with_new_cards(lines: Path, target: Path) -> Path:
    """Write the lines again, each with a card that no other line has."""
    chance = random.Random(2)
    with lines.open("rb") as source, target.open("wb") as file:
        for line in source:
            event = msgspec.json.decode(line)
            event["card"] = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            file.write(msgspec.json.encode(event) + b"\n")
    return target


def measure(name: str, folder: Path, lines: Path) -> list[TableBytes]:
    """Ingest the lines, and return the tables of the log, the largest first."""
    project = fresh_project(name, folder)
    ingest_process(project, lines)
    with closing(sqlite3.connect(project / ".shroff" / "log.db")) as log:
        ((events,),) = log.execute("SELECT last_seq FROM watermark")
        tables = log.execute("SELECT name, sum(pgsize), sum(payload) FROM dbstat GROUP BY name ORDER BY 2 DESC")
        return [TableBytes(table, pages / events, rows / events) for table, pages, rows in tables]


def report(events: int, tables: Mapping[str, Sequence[TableBytes]]) -> str:
    heading = f"# Bytes on disk by table\n\n{describe()}. {events:,} payments of the made-up bank, in SQLite.\n"
    parts = [
        heading,
        "Bytes an event: pages of the file, and the rows in them. Tables below 0.5 bytes: in the sum only.\n",
    ]
    for title, of_case in tables.items():
        rows = [f"| {row.table} | {row.pages:.1f} | {row.rows:.1f} |" for row in of_case if row.pages >= 0.5]
        total = f"| **all** | {sum(row.pages for row in of_case):.1f} | {sum(row.rows for row in of_case):.1f} |"
        table = "\n".join(["| table | pages | rows |", "|---|---|---|", *rows, total])
        parts.append(f"\n## {title}\n\n{table}\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
