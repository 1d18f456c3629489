"""Ingest of messy files beside clean ones: repeats, bad rows, late ones, labels, all of them; two types in turn.

The made-up bank's payments as JSON lines with forty features and ten rules, decided and durable. Each file goes into
an empty log in a process of its own, by turns. Measured is processor time, that of a clean file of one batch taken
away, since it is mostly that of the start; what is told are ratios to the clean file of the same turn. Events of two
types in turn stand beside the same events in a file for each type.

    python -m bench.messy [--events 300000] [--runs 3] [--scratch FOLDER]
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from bench.ingest import BATCH_SIZE, FORTY, with_log
from bench.machine import describe, spread, write_result
from shroff.examples.bank import bank

KINDS = ("repeats", "bad", "late", "labels")
TOO_LATE = "too late"
SHARE = 0.01
TOO_LATE_SHARE = 0.005  # a file with more than one in a hundred is not taken without --order file
LOGIN = """login:
  id: login_id
  time: at
  fields: { login_id: text, at: time, card: text, device: text?, country: text }
"""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=300_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--scratch", type=Path)
    chosen = arguments.parse_args()
    kinds: dict[str, tuple[str, ...]] = {"clean": (), **{kind: (kind,) for kind in KINDS}, "all four": KINDS}
    kinds[TOO_LATE] = (TOO_LATE,)
    costs = dict[str, list[float]]()
    with tempfile.TemporaryDirectory(dir=chosen.scratch) as scratch:
        files = {name: written(Path(scratch), name, of, chosen.events) for name, of in kinds.items()}
        apart, files["two types in turn"] = in_turn(Path(scratch), chosen.events)
        files |= {f"two types apart: {name}": command for name, command in apart.items()}
        first = min(BATCH_SIZE, chosen.events // 4)
        one_batch = written(Path(scratch), "one batch", (), first)
        for turn in range(chosen.runs + 1):
            start = ingest_cpu(one_batch, Path(scratch))
            for name, command in files.items():
                spent = ingest_cpu(command, Path(scratch)) - start
                if turn:  # the first one compiles the kernels where that is to be done
                    costs.setdefault(name, []).append(max(spent, 1e-9) / (chosen.events - first) * 1e6)
    parts = [costs.pop(f"two types apart: {name}") for name in apart]
    share = (chosen.events - first) / (chosen.events - 2 * first)  # the batch was taken away from each file
    both = [sum(each) * share for each in zip(*parts, strict=True)]
    rows = [_row(name, ours, costs["clean"]) for name, ours in costs.items() if name in kinds]
    rows += [_row("the same events, a file for each type", both, both)]
    rows += [_row("two types in turn", costs["two types in turn"], both)]
    text = f"""# A messy file

{describe()}. {chosen.events:,} payments of the made-up bank, 40 features and 10 rules; {chosen.runs} runs in turn.
Processor time of the process, less that of a clean file of {first:,} lines. Beside the clean file: 1 % of the lines are
sent again, cannot be read, come minutes late, or have a label; 0.5 % come weeks late and are refused. Last, as many
payments and logins in turn, each line naming its type, beside the same lines in a file for each type.

| file | rate beside the clean one, median (range) | µs an event |
|---|---|---|
{chr(10).join(rows)}
"""
    sys.stdout.write(text)
    write_result("messy", text)
    return 0


def _row(name: str, ours: list[float], clean: list[float]) -> str:
    ratios = [other / speed for speed, other in zip(ours, clean, strict=True)]
    return f"| {name} | {spread(ratios, '.2f')} | {spread(ours, '.1f')} |"


def ingest_cpu(command: list[str], folder: Path) -> float:
    """Seconds of the processor that the command takes, into an empty log."""
    with with_log(FORTY, folder, None) as project:
        events = project / "events.yaml"
        events.write_text(
            events.read_text()
            .replace("entities:", f"{LOGIN}entities:")
            .replace("payment: card }", "payment: card, login: card }")
        )
        start = [sys.executable, "-m", "shroff", "-C", str(project), "ingest", *command, "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(start, check=False, capture_output=True)  # lines are quarantined
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if not done.stdout:
        raise RuntimeError(done.stderr.decode())
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def in_turn(folder: Path, events: int) -> tuple[dict[str, list[str]], list[str]]:
    """Write payments and logins in turn, each naming its type, and a file of each; gives the arguments of ingest."""
    paths = [folder / f"{name}.jsonl" for name in ("payments", "logins", "in turn")]
    with paths[0].open("wb") as payments, paths[1].open("wb") as logins, paths[2].open("wb") as both:
        for number, payment in enumerate(bank(events, seed=1)):
            event, is_login = payment.event, number % 2 == 0
            login = {
                "login_id": f"l{number}",
                "at": event["paid_at"],
                "card": event["card"],
                "country": event["country"],
            }
            line = msgspec.json.encode({"login": login} if is_login else {"payment": event}) + b"\n"
            (logins if is_login else payments).write(line)
            both.write(line)
    return {path.stem: [str(path)] for path in paths[:2]}, [str(paths[2])]


def written(folder: Path, name: str, kinds: tuple[str, ...], events: int) -> list[str]:
    """Write the files of a case; gives the arguments of their ingest."""
    chance, path, labels = random.Random(1), folder / f"{name}.jsonl", folder / f"{name}-labels.jsonl"
    with path.open("wb") as file, labels.open("wb") as beside:
        late = b""
        for number, payment in enumerate(bank(events, seed=1)):
            line = msgspec.json.encode(payment.event) + b"\n"
            hit = {kind for kind in KINDS if chance.random() < SHARE} & {*kinds}
            if "labels" in hit:
                known_at = datetime.fromisoformat(payment.event["paid_at"]) + timedelta(hours=chance.randrange(2, 400))
                label = {"event": f"payment/{payment.event['payment_id']}", "verdict": "fraud", "known_at": known_at}
                beside.write(msgspec.json.encode(label) + b"\n")
            if "bad" in hit:
                file.write(msgspec.json.encode(payment.event | {"payment_id": "bad", "amount": "a lot"}) + b"\n")
            if TOO_LATE in kinds and number and chance.random() < TOO_LATE_SHARE:
                old = datetime.fromisoformat(payment.event["paid_at"]) - timedelta(days=60)
                late_event = {"payment_id": f"old-{number}", "paid_at": old.isoformat()}
                file.write(msgspec.json.encode(payment.event | late_event) + b"\n")
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
