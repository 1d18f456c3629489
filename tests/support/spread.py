"""Events of a project, brought into its log, its lake, or some into each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shroff
from shroff.services.lake.operations import WriteLake

Lines = Sequence[Mapping[str, Any]]


def ingest(folder: Path, events: Lines) -> None:
    """Ingest events, all of which are taken."""
    file = folder.parent / "events.jsonl"
    file.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    report = shroff.open(folder).ingest([file])
    assert (report.events.quarantined, report.untaken) == (0, 0)


def spread(folder: Path, events: Lines, first: int, where: str) -> None:
    """Ingest events so that all are in the log alone (`log`), in the lake as well (`lake`), or the `first` in the lake
    and the others behind it (`both`; `pruned`: the log has let go of those of the lake)."""
    ingest(folder, events[:first])
    if where != "log":
        with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
            file.write("lake: ./lake\nkeep: 1h\n")
    if where in {"lake", "both"}:
        ingest(folder, events[first:] if where == "lake" else [])
        shroff.open(folder).run(WriteLake())
    if where == "pruned":
        assert shroff.open(folder).retention.prune().upto > first // 3
    if where != "lake":
        ingest(folder, events[first:])
