"""Many rules: what a project of a thousand rule files and a list of a hundred thousand values costs its people.

Makes the project in a folder of its own, then takes the processor's and the clock's seconds of what somebody waits for:
reading it first, running its rule tests, a row into its list (in a process that has read it, as a service has, and by
the command, a whole process), some events, and `verify` with its peak memory. Prints a table and writes it to
`bench/results/many_rules.md`; with other sizes than the usual it only prints.

    python -m bench.many_rules [--rules 1000] [--entries 100000] [--events 2000]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from bench.machine import describe, write_result
from shroff.app import project as app
from shroff.project.lists import Entry

USUAL = (1_000, 100_000, 2_000)
PROGRAM = "from shroff.cli.main import main; main()"
ADD = "a row into the list, in a process that has read the project"
COMMAND = "a row into the list, by the command"
SMALL = "the same in a project of the template alone"  # what the program takes to start
LIMITS = {"check": 3.0, ADD: 0.3, COMMAND: 1.5}  # processor seconds
CONDITIONS = (
    "this.amount > {number} and this.country == 'DE'",
    "card.payments_1h >= 3 and this.amount > {number}",
    "this.card in lists.many and this.amount > {number}",
    "count(payment where payment.amount > {number}) over 24h including this >= 30",
    "sum(payment.amount) over 7d since flag including this > {number}000",
)
RULE = """- id: made_{number}
  on: payment
  by: card
  when: {when}
  reason: "{{this.amount}} is much for rule {number}"
  effect: review
  tests:
    - name: a small payment
      events:
        - payment: {{ card: c1, at: 2026-01-01T10:00:00Z, amount: 0.01, merchant: m, country: FR, channel: pos }}
      hits: [false]
"""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in zip(("rules", "entries", "events"), USUAL, strict=True):
        arguments.add_argument(f"--{name}", type=int, default=usual)
    given = arguments.parse_args()
    sizes = (given.rules, given.entries, given.events)
    with tempfile.TemporaryDirectory() as folder:
        table = report(sizes, measured(Path(folder) / "bank", *sizes))
    print(table)
    if sizes == USUAL:
        write_result("many_rules", table)
    return 0


def measured(folder: Path, rules: int, entries: int, events: int) -> dict[str, tuple[float, float, str]]:
    """Processor seconds, seconds of the clock, and what else there is to say, of each step."""
    app.make_project(folder.with_name("small"), "payments")[0].decide([payment(0)], as_type="payment")
    app.make_project(folder, "payments")
    for number in range(rules):
        when = CONDITIONS[number % len(CONDITIONS)].format(number=number + 100)
        (folder / "rules" / f"made_{number}.yaml").write_text(RULE.format(number=number, when=when))
    rows = "".join(f"b-{number},,bench,\n" for number in range(entries))
    (folder / "lists" / "many.csv").write_text(f"value,note,added_by,expires_at\n{rows}")
    project = app.open(folder)
    found = {"check": timed(project.check)}
    found[f"{events:,} events"] = timed(lambda: project.decide(list(map(payment, range(events))), as_type="payment"))
    project.lists.add("many", Entry("first"))  # what the first change loads of the program
    found[ADD] = timed(lambda: project.lists.add("many", Entry("c-1", "found by hand")))
    line = (sys.executable, "-c", PROGRAM, "-C", str(folder))
    found[COMMAND] = timed(lambda: run(*line, "lists", "add", "many", "c-2"), RUSAGE_CHILDREN)
    found[SMALL] = timed(lambda: small(folder.with_name("small")), RUSAGE_CHILDREN)
    processor, clock, _ = timed(lambda: run(*line, "verify"), RUSAGE_CHILDREN)
    found["verify"] = processor, clock, f"{getrusage(RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB at its peak"
    return found


def small(folder: Path) -> None:
    """A row by the command into a list of a small project."""
    run(sys.executable, "-c", PROGRAM, "-C", str(folder), "lists", "add", "blocked_cards", "c-2")


def payment(number: int) -> dict[str, object]:
    amount = f"{number * 7919 % 200_000 / 100 + 1:.2f}"
    fields = {"card": f"c-{number % 200}", "merchant": f"m-{number % 50}", "country": "DE", "channel": "web"}
    return {"payment_id": f"p-{number}", "paid_at": 1_767_225_600_000 + 30_000 * number, "amount": amount, **fields}


def run(*line: str) -> None:
    subprocess.run(line, check=True, capture_output=True, env={**os.environ})


def timed(step: Callable[[], object], who: int = RUSAGE_SELF) -> tuple[float, float, str]:
    before, began = getrusage(who), time.perf_counter()
    step()
    clock, after = time.perf_counter() - began, getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock, ""


def report(sizes: tuple[int, int, int], found: dict[str, tuple[float, float, str]]) -> str:
    lines = [
        "# Many rules",
        "",
        f"{describe()}. {sizes[0]:,} rule files beside those of the template, a list of {sizes[1]:,} values.",
        "",
        "| step | processor seconds | at most | seconds by the clock | |",
        "|---|---|---|---|---|",
    ]
    for name, (processor, clock, more) in found.items():
        limit = f"{LIMITS[name]:g}" if name in LIMITS else ""
        lines.append(f"| {name} | {processor:.2f} | {limit} | {clock:.2f} | {more} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
