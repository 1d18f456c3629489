"""Features with `via`: ingest and the service with and without four of them, `verify`, and recall of planted rings.

Payments of 60 days, five a card. 40 rings of 5 to 30 cards share devices, mail addresses or network addresses for ten
days each, and three of five of their payments are reported as fraud after three days. A shop's tablet has 3 % of all
payments, a network address a sixth; every tenth card shares its device with another one. As many other frauds as one in
a thousand payments have four times the usual amount; those of rings have the usual one.

The service is measured as in `bench.service`, by turns; its log has a part of the payments, as a service's has.

    python -m bench.links [--events N] [--rate N] [--seconds N] [--rounds N] [--no-model] [--scratch FOLDER] [--keep]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from bench.machine import tell_result
from bench.service import ME, SHROFF, WARM_S, load, request, running
from shroff.events.event import time_text
from shroff.people import keys
from shroff.people.access import Role
from shroff.services import project as app

START_MS: Final = 1_767_225_600_000  # 1 January 2026
DAY_MS: Final = 86_400_000
DAYS: Final = 60
EVENTS: Final = """payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, amount: money, device: text, email: text, ip: text }
entities: { card: { payment: card } }
"""
PLAIN: Final = """card:
  paid_1d: count(payment) over 1d
  spent_7d: sum(payment.amount) over 7d
  usual: mean(payment.amount) over 30d
  largest: max(payment.amount) over 30d
  smallest: min(payment.amount) over 30d
"""
LINKED: Final = """  cards_by_device: distinct(payment.card via payment.device up to 40) over 10d including this
  frauds_by_device: count(label via payment.device up to 40 where label.verdict == 'fraud') over 30d
  cards_by_email: distinct(payment.card via payment.email up to 40) over 10d including this
  cards_by_ip: distinct(payment.card via payment.ip up to 40) over 10d including this
"""
RULE: Final = "- { id: large, on: payment, by: card, when: payment.amount > 2000, effect: review, reason: large }\n"
MODEL: Final = """payment:
  inputs: [payment.amount, hour(payment.at), card.*]
  label_delay: 4d
  learner: lightgbm
  split: { train: 28d, delay: 4d, test: 7d, folds: 2 }
  capacity: { by: card, k: 100 }
"""
POLICY: Final = """payment:
  costs: { missed_fraud: payment.amount, false_decline: 15, review: 4, reviews_a_day: 100 }
"""


def payments(count: int, seed: int = 1, start_ms: int = START_MS) -> Iterator[dict[str, dict[str, Any]]]:
    """Payments and labels by the time at which they are known."""
    random, lines = Random(seed), list[tuple[int, int, dict[str, dict[str, Any]]]]()
    cards, span_ms = max(count // 5, 100), DAYS * DAY_MS

    def paid(at_ms: int, card: str, amount: float, own: int, *, fraud: bool, **shared: str) -> None:
        event = {
            "id": f"{seed}p{len(lines)}",
            "at": time_text(at_ms),
            "card": card,
            "amount": f"{amount:.2f}",
            "device": f"d{own - own % 2 if own % 10 < 2 else own}",
            "email": f"m{own}",
            "ip": "nat" if random.random() < 1 / 6 else f"i{own}",
        }
        if random.random() < 0.03:
            event["device"] = "tablet"
        lines.append((at_ms, len(lines), {"payment": event | shared}))
        if fraud:
            known_ms = at_ms + 3 * DAY_MS
            told = {"event": f"payment/{event['id']}", "verdict": "fraud", "source": "chargeback"}
            lines.append((known_ms, len(lines), {"label": told | {"known_at": time_text(known_ms)}}))

    for _ in range(count):
        own, is_fraud = random.randrange(cards), random.random() < 0.001
        amount = random.lognormvariate(3.5, 0.8) * (4 if is_fraud else 1)
        paid(start_ms + random.randrange(span_ms), f"c{own}", amount, own, fraud=is_fraud)
    for ring in range(40):
        began_ms, size = start_ms + random.randrange(span_ms - 10 * DAY_MS), random.randint(5, 30)
        value = {("device", "email", "ip")[ring % 3]: f"ring{ring}"}
        for member in range(size * 4):
            own, at_ms = cards + ring * 30 + member % size, began_ms + random.randrange(10 * DAY_MS)
            shared = value if random.random() < 0.8 else {}
            is_fraud = random.random() < 0.6
            paid(at_ms, f"r{ring}-{member % size}", random.lognormvariate(3.5, 0.8), own, fraud=is_fraud, **shared)
    lines.sort(key=lambda line: line[:2])
    yield from (line for _, _, line in lines)


def project(folder: Path, *, linked: bool) -> Path:
    """A project with the four features, or without."""
    files = {
        "shroff.yaml": "shroff: 1\nname: links\nmoney: EUR\n",
        "events.yaml": EVENTS,
        "features.yaml": PLAIN + (LINKED if linked else ""),
        "rules/large.yaml": RULE,
        "model.yaml": MODEL,
        "policy.yaml": POLICY,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def spent(*words: str | Path) -> tuple[float, str]:
    """Processor seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([SHROFF, *words], check=True, capture_output=True, text=True)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def ticks(folder: Path) -> int:
    """Of the processor, what the processes of a service have used."""
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"-C\0{folder}\0serve" in (process / "cmdline").read_text():
                used += sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return used


def served(folders: dict[str, Path], options: argparse.Namespace) -> list[str]:
    """Lines of the table of latencies, the services by turns."""
    rows, warm, count = [], int(options.rate * WARM_S / 2), int(options.rate * options.seconds)
    later = payments(options.rounds * (warm + count), 2, START_MS + (DAYS + 4) * DAY_MS)
    lines = [json.dumps(line["payment"]).encode() for line in later if "payment" in line]
    feeds = {name: iter(lines) for name in folders}
    for turn in range(options.rounds):
        for name, folder in folders.items():
            with app.open_exactly(folder).people.open() as desk:
                key = keys.create(desk, ME, f"bench {turn}", Role.SERVICE)[1]
            posts = (request("/api/v1/events/payment", body, key) for body in feeds[name])
            command = [str(SHROFF), "-C", str(folder), "serve", "--port", "0", "--rate", "1000000"]
            with running(command, 0) as port:
                load(port, posts, options.rate / 2, warm)
                before = ticks(folder)
                found = load(port, posts, options.rate, count)
                cost_us = 1e6 * (ticks(folder) - before) / os.sysconf("SC_CLK_TCK") / count
            busy = os.getloadavg()[0]
            quantiles = " | ".join(f"{found.quantile_ms(share):.2f}" for share in (0.5, 0.9, 0.99, 0.999))
            others = sum(found.others.values()) or "none"
            figures = f"{quantiles} | {others} | {cost_us:.0f} | {busy:.1f}"
            rows.append(f"| {name} | {found.rate:,.0f} | {found.answered:,.0f} | {figures} |")
            print(rows[-1], flush=True)
    return rows


def run(options: argparse.Namespace, scratch: Path) -> None:
    """Measure, print, and write the table."""
    given = scratch / "payments.jsonl"
    given.write_text("".join(f"{json.dumps(line)}\n" for line in payments(options.events)), encoding="utf-8")
    folders = {name: project(scratch / name, linked=name == "with links") for name in ("without", "with links")}
    rows = []
    for name, folder in folders.items():
        cost, _ = spent("-C", folder, "ingest", given)
        row = [name, f"{cost:.1f}"]
        if not options.no_model:
            checked, said = spent("-C", folder, "verify")
            row += [f"{checked:.1f}", next(line for line in said.splitlines() if "mismatches" in line)]
            trained, told = spent("-C", folder, "train", "--json")
            (scratch / f"{name}.json").write_text(told, encoding="utf-8")
            row += [f"{trained:.1f}", recall(json.loads(told))]
        rows.append("| " + " | ".join(row) + " |")
        print(rows[-1], flush=True)
    heads = "| features | ingest, processor s |"
    if not options.no_model:
        heads += " verify, processor s | it says | training, processor s | frauds found by 100 looks a day |"
    table = [heads, "| --- " * heads.count(" |") + "|", *rows, ""]
    heads = "| service | due/s | answered/s | p50 ms | p90 | p99 | p99.9 | else | processor µs | machine's load |"
    table += [heads, "| --- " * 10 + "|", *served(folders, options)]
    tell_result("links", "Features over links", __doc__, "\n".join(table), keep=options.keep)


def recall(told: dict[str, Any]) -> str:
    """What training says of what a hundred looks a day find, with the ends of its interval."""
    found = told["metrics"]["recall_at_budget"]
    return f"{found['mean']:.0%} ({found['low']:.0%} to {found['high']:.0%})"


def main() -> None:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rate", type=float, default=1_000.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-model", action="store_true")
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--keep", action="store_true", help="write bench/results/links.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
