"""Many rules: what a project of two thousand rule files and a list of a million values costs its people.

Makes the project in a folder of its own, then takes the processor's and the clock's seconds of what somebody waits for:
`check` (reading all files, typing all rules, running their tests), some events, then by HTTP in a running service a row
into the list, one out of it, and an edit of one rule file until it is active; a row by the command, a whole process;
and `verify` with its peak memory. Prints a table and writes it to `bench/results/many_rules.md`; with other sizes than
the usual it only prints. Of what a service does five times it shows the median, beside it what the first time took.
Before each, the service has done what it does by itself after its start or behind an answer.

    python -m bench.many_rules [--rules 2000] [--entries 1000000] [--events 100]
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import httpx2

from bench.machine import describe, write_result
from shroff.people import keys
from shroff.people.access import RIGHTS, Role, Who
from shroff.services import project as app

USUAL = (2_000, 1_000_000, 100)
PROGRAM = "from shroff.cli.main import main; main()"
ADD = "a row into the list, over HTTP"
REMOVE = "a row out of the list, over HTTP"
EDIT = "an edit of one rule, from the saved file until it is active, over HTTP"
COMMAND = "a row into the list, by the command"
SMALL = "the same in a project of the template alone"  # what the program takes to start
LIMITS = {"check": 3.0, ADD: 0.1, EDIT: 0.3}  # processor seconds
TIMES = 5
ME = Who("command", "os-bench", "bench", Role.ADMIN, RIGHTS[Role.ADMIN])
SHROFF = Path(sys.executable).parent / "shroff"
_ADDRESS = re.compile(r"at (http://127.0.0.1:\d+)")
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
    found |= served(folder)
    line = (sys.executable, "-c", PROGRAM, "-C", str(folder))
    found[COMMAND] = timed(lambda: run(*line, "lists", "add", "many", "c-2"), RUSAGE_CHILDREN)
    found[SMALL] = timed(lambda: small(folder.with_name("small")), RUSAGE_CHILDREN)
    processor, clock, _ = timed(lambda: run(*line, "verify"), RUSAGE_CHILDREN)
    found["verify"] = processor, clock, f"{getrusage(RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB at its peak"
    return found


def served(folder: Path) -> dict[str, tuple[float, float, str]]:
    """The same of what a running service does, as the median of some times but the first."""
    with app.open_exactly(folder).people.open() as desk:
        key = keys.create(desk, ME, "bench", Role.ADMIN)[1]
    rule, said = folder / "rules" / "made_0.yaml", folder.parent / "said"
    command = [str(SHROFF), "-C", str(folder), "serve", "--port", "0"]
    with said.open("w") as into, subprocess.Popen(command, stdout=into, stderr=into) as process:
        try:
            while (address := _ADDRESS.search(said.read_text())) is None:
                assert process.poll() is None, said.read_text()
                time.sleep(0.05)
            while httpx2.get(f"{address[1]}/health/ready").status_code != 200:
                time.sleep(0.05)
            head = {"authorization": f"Bearer {key}"}
            with httpx2.Client(base_url=f"{address[1]}/api/v1", timeout=600, headers=head) as client:

                def edit(number: int) -> httpx2.Response:
                    rule.write_text(re.sub(r"amount > \d+", f"amount > {number + 1_000}", rule.read_text()))
                    etag = client.get("/changes").json()["etag"]
                    return client.post("/changes/apply", json={"etag": etag})

                steps = {
                    ADD: lambda number: client.post("/lists/many/entries", json={"value": f"c-{number}"}),
                    REMOVE: lambda number: client.delete(f"/lists/many/entries/c-{number}"),
                    EDIT: edit,
                }
                return {name: median_of(step, process.pid) for name, step in steps.items()}
        finally:
            process.terminate()
            process.wait(60)


def median_of(step: Callable[[int], httpx2.Response], process: int) -> tuple[float, float, str]:
    """The median of a step's seconds, of the processor of a process and of the clock."""
    found = []
    for number in range(TIMES + 1):
        wait_until_quiet(process)
        before, began = processor_s(process), time.perf_counter()
        step(number).raise_for_status()
        found.append((processor_s(process) - before, time.perf_counter() - began))
    first, medians = found[0][0], [statistics.median(item[at] for item in found[1:]) for at in (0, 1)]
    return medians[0], medians[1], f"{first:.2f} processor seconds the first time"


def wait_until_quiet(process: int) -> None:
    """Wait until a process takes less than 3 % of a processor for a second, a minute at most."""
    for _ in range(60):
        before, began = processor_s(process), time.perf_counter()
        time.sleep(1)
        if processor_s(process) - before < 0.03 * (time.perf_counter() - began):
            return


def processor_s(process: int) -> float:
    """The processor's seconds that a process took so far, with those of threads that ended."""
    return time.clock_gettime(~process << 3 | 2)  # as clock_getcpuclockid(3) names its clock


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
