"""Attack drills on a copy of the log of a synthetic bank: seconds, and what is the same before and after.

Every kind of attack, open and adaptive, against the rules of the template `payments`, with a snapshot of the state and
without one. The log's hash and the bytes of a second run are compared with those of the first.

Run: python -m bench.attack [--events N] [--keep]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from time import perf_counter

from bench.handbook import SHROFF
from bench.machine import tell_result
from shroff.examples.bank import START_MS
from shroff.examples.demo import Truth, stream
from shroff.services import project as app
from shroff.worker.ingest import ingest


def bank(folder: Path, events: int) -> None:
    project, _ = app.make_project(folder, "payments", "bank")
    intake = project.taking.intake(keeps_hashes=False)
    with project.log.writing() as (writer, _log):
        ingest(writer, stream(intake, events, 2, Truth(), START_MS))


def hash_of(folder: Path) -> str:
    return hashlib.sha256((folder / ".shroff" / "log.db").read_bytes()).hexdigest()


def drill(folder: Path, *options: str) -> tuple[bytes, str]:
    """The answer, and a row of the table with its seconds."""
    before, started = getrusage(RUSAGE_CHILDREN), perf_counter()
    answer = subprocess.run([SHROFF, "-C", str(folder), "attack", "--json", *options], stdout=-1, check=True).stdout
    seconds, after = perf_counter() - started, getrusage(RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    kinds = json.loads(answer)["kinds"]
    seen = ", ".join(f"{kind['kind']} {kind['attackers_seen']} of {kind['attackers']}" for kind in kinds)
    return answer, f"{seconds:.1f} | {used_s:.1f} | {seen} |"


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--events", type=int, default=100_000)
    arguments.add_argument("--keep", action="store_true", help="write bench/results/attack.md")
    chosen = arguments.parse_args()
    rows = ["| drill | s | of processor time | attackers seen |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bank"
        bank(folder, chosen.events)
        before, same = hash_of(folder), True
        for state in ("a snapshot", "none"):
            for options in ((), ("--adaptive",)):
                answer, row = drill(folder, *options)
                same = same and drill(folder, *options)[0] == answer
                rows.append(f"| {' '.join(options).strip('-') or 'open'}, {state} | {row}")
            shutil.rmtree(folder / ".shroff" / "snapshots", ignore_errors=True)
        log, answers = ("the same" if is_same else "OTHER" for is_same in (hash_of(folder) == before, same))
        rows += ["", f"{chosen.events:,} payments. The log's hash afterwards: {log}. Bytes of a second run: {answers}."]
    tell_result("attack", "Attack drills", __doc__, "\n".join(rows), keep=chosen.keep)


if __name__ == "__main__":
    main()
