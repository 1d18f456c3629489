"""Backup and restore: seconds for a full backup, for the tail behind it, and for a restore, by the size of the log.

    python -m bench.restore [--events 300000] [--tails 10] [--tail-events 5000] [--project eight_features] [--plain]

10 million, some half an hour and 20 GB of disk (TMPDIR): python -m bench.restore --events 9950000 --plain

The restore is of the full backup and all tails, from a folder into a folder of the same disk. The last column is what
10 million events would take at the same rate.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.ingest import write_lines
from bench.machine import describe, write_result
from bench.restart import cut
from shroff.adapters.lake.folder import FolderObjects
from shroff.services import project as app
from shroff.services.backups.creation import BackupWriter
from shroff.services.backups.restoration import restore
from shroff.services.backups.vault import Vault

WHOLE = 10_000_000


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--tails", type=int, default=10)
    arguments.add_argument("--tail-events", type=int, default=5_000)
    arguments.add_argument("--project", default="eight_features")
    arguments.add_argument("--plain", action="store_true", help="without the row of encrypted backups")
    chosen = arguments.parse_args()
    rows = []
    for key in (None,) if chosen.plain else (None, bytes(range(32))):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(measured(Path(scratch), chosen, key))
    text = report(chosen, rows)
    sys.stdout.write(text)
    is_usual = chosen.events == arguments.get_default("events")
    write_result("restore" if is_usual else f"restore_{chosen.events + chosen.tails * chosen.tail_events}", text)
    return 0


def measured(scratch: Path, chosen: argparse.Namespace, key: bytes | None) -> str:
    """One row: with or without encryption."""
    folder = scratch / "bank"
    shutil.copytree(Path(__file__).parent / "projects" / chosen.project, folder)
    events = chosen.events + chosen.tails * chosen.tail_events
    left = write_lines(scratch / "all.jsonl", events)
    project = app.open(folder)

    def take(number: int, count: int) -> None:
        nonlocal left
        lines = cut(left, scratch / f"{number}.jsonl", rest := scratch / f"rest-{number}.jsonl", count)
        left.unlink()
        left = rest
        project.ingest([lines], as_type="payment")
        lines.unlink()

    take(0, chosen.events)
    tails = []
    with BackupWriter(project.context, Vault(FolderObjects(str(scratch / "vault")), key)) as writer:
        began = time.perf_counter()
        writer.create()
        full_s = time.perf_counter() - began
        for number in range(chosen.tails):
            take(number + 1, chosen.tail_events)
            began = time.perf_counter()
            point = writer.create()
            tails.append(time.perf_counter() - began)
            assert point is not None
            assert not point.is_full
    vault = Vault(FolderObjects(str(scratch / "vault")), key)
    began, began_cpu = time.perf_counter(), time.process_time()
    found = restore(vault, scratch / "again")
    restore_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    assert found.number == 1 + chosen.tails
    size = (scratch / "again" / ".shroff" / "log.db").stat().st_size
    stored = sum(vault.pieces().values())
    words = "encrypted" if key else "plain"
    return (
        f"| {words} | {size / 2**20:,.0f} MiB | {stored / 2**20:,.0f} MiB | {full_s:.1f} | {max(tails):.2f} | "
        f"{restore_s:.1f} | {cpu_s:.1f} | {restore_s * WHOLE / events / 60:.1f} |"
    )


def report(chosen: argparse.Namespace, rows: list[str]) -> str:
    """The table that is printed and kept."""
    about = (
        f"{describe()}. {chosen.events:,} payments of the synthetic bank in the log ({chosen.project}), then "
        f"{chosen.tails} tails of {chosen.tail_events:,} payments each."
    )
    return "\n".join(
        [
            "# Backup and restore",
            "",
            about,
            "From a folder into a folder of the same disk. Minutes for 10 million events are computed from the rate.",
            "",
            "| backups | log | stored | full, s | longest tail, s | restore, s | processor, s | 10 million, minutes |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
