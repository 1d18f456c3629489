"""Ingest of a messy file beside the clean one: repeats, bad rows, late ones, labels, and all of them, of 1 % each.

The made-up bank's payments as JSON lines with forty features and ten rules, decided and durable. Each file goes into
an empty log in a process of its own, by turns; what is told are ratios to the clean file of the same turn.

    python -m bench.messy [--events 300000] [--runs 3] [--scratch FOLDER]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from bench.ingest import FORTY, with_log
from bench.machine import describe, spread, write_result
from shroff.examples.bank import bank

KINDS = ("repeats", "bad", "late", "labels")
SHARE = 0.01


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scratch", type=Path)
    chosen = arguments.parse_args()
    cases: dict[str, tuple[str, ...]] = {"clean": (), **{kind: (kind,) for kind in KINDS}, "all four": KINDS}
    paces: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        files = {name: written(Path(scratch), name, kinds, chosen.events) for name, kinds in cases.items()}
        for turn in range(chosen.runs + 1):
            for name, command in files.items():
                with with_log(FORTY, Path(scratch), None) as project:
                    start = [sys.executable, "-m", "shroff", "-C", str(project), "ingest", *command, "--json"]
                    done = subprocess.run(start, check=False, capture_output=True)  # lines are quarantined
                if turn:  # the first one compiles the kernels where that is to be done
                    paces[name].append(chosen.events / float(json.loads(done.stdout)["seconds"]))
    rows = [
        f"| {name} | {spread([one / clean for one, clean in zip(ours, paces['clean'], strict=True)], '.2f')} | "
        f"{spread(ours, ',.0f')} |"
        for name, ours in paces.items()
    ]
    text = f"""# A messy file

{describe()}. {chosen.events:,} payments of the made-up bank, 40 features and 10 rules; {chosen.runs} runs in turn.
Beside the clean file: 1 % of the lines are sent again, cannot be read, come minutes late, or have a label.

| file | beside the clean one, median (range) | events/s |
|---|---|---|
{chr(10).join(rows)}
"""
    sys.stdout.write(text)
    write_result("messy", text)
    return 0


def written(folder: Path, name: str, kinds: tuple[str, ...], events: int) -> list[str]:
    """Write the files of a case; gives the arguments of their ingest."""
    chance, path, labels = random.Random(1), folder / f"{name}.jsonl", folder / f"{name}-labels.jsonl"
    with path.open("wb") as file, labels.open("wb") as beside:
        late = b""
        for one in bank(events, seed=1):
            line = msgspec.json.encode(one.event) + b"\n"
            hit = {kind for kind in KINDS if chance.random() < SHARE} & {*kinds}
            if "labels" in hit:
                known_at = datetime.fromisoformat(one.event["paid_at"]) + timedelta(hours=chance.randrange(2, 400))
                label = {"event": f"payment/{one.event['payment_id']}", "verdict": "fraud", "known_at": known_at}
                beside.write(msgspec.json.encode(label) + b"\n")
            if "bad" in hit:
                file.write(msgspec.json.encode(one.event | {"payment_id": "bad", "amount": "a lot"}) + b"\n")
            if "late" in hit and not late:
                late = line
                continue
            file.write(line + (line if "repeats" in hit else b""))
            if late and chance.random() < 0.1:
                file.write(late)
                late = b""
        file.write(late)
    return [str(path), "--as", "payment", *(["--labels", str(labels)] if "labels" in kinds else [])]


if __name__ == "__main__":
    sys.exit(main())
