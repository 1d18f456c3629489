"""What a person waits for: screens, actions and commands, over the demo's bank, by the clock of who waits.

The demo is started with warm kernels, timed until it names its URL, and stopped; a service of its project is started
anew, and left alone for ten seconds, in which somebody signs in and it makes its pages ready. Each screen is visited
once then, and again and again: of 20 visits, p95 (the nearest rank) is the slowest but one, and the first has its own
column. Actions are requests of the API: each row is what a press of the button waits for. Commands run in the folder of
the tutorial, whole processes, with no service beside them.

    python -m bench.interactive [--events 100000] [--loads 20] [--runs 5] [--keep]
"""

from __future__ import annotations

import argparse
import math
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.machine import describe, write_result
from bench.pages import drawn, prepare, signed_in
from bench.service import SHROFF, running
from shroff.events.event import time_text
from shroff.examples.days import DAY_MS
from shroff.web.pages.renderer import tabs
from shroff.web.table import PAGES

API = "/api/v1"
RULE = """\
- id: {id}
  on: payment
  by: card
  when: card.payments_1h >= {least} and this.amount > 50
  reason: "{{card.payments_1h}} payments in an hour"
  effect: review
  tests:
    - name: one payment is not enough
      events:
        - payment: {{ card: c1, at: 2026-01-05T10:00:00Z, merchant: m1, amount: 60.00, currency: EUR, country: DE,
                      channel: web }}
      hits: [false]
"""
PAGE_S, ACTION_S, REPLAY_S, FIRST_NUMBER_S, CHECK_S, COMMAND_S, DEMO_S = 0.2, 0.3, 0.1, 3.0, 0.7, 1.0, 30.0  # asked
SIGNS_IN_S = 10.0  # for which a service is left alone after its start
_CSRF = re.compile(r'name="csrf" (?:value|content)="([^"]+)"')
_URL = re.compile(rb"http://127\.0\.0\.1:\d+/")


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds that somebody waited, in their order, and how many they should wait at most."""

    name: str
    seconds: Sequence[float]
    asked: float

    @property
    def p95(self) -> float:
        return sorted(self.seconds)[math.ceil(0.95 * len(self.seconds)) - 1]

    @property
    def row(self) -> str:
        parts = (self.seconds[0], statistics.median(self.seconds), self.p95)
        shown = " | ".join(f"{part * 1_000:,.0f}" for part in parts)
        verdict = "" if self.p95 <= self.asked else "missed"
        return f"| {self.name} | {len(self.seconds)} | {shown} | {self.asked * 1_000:,.0f} | {verdict} |"


def clocked(work: Callable[..., object], *words: object, **options: object) -> float:
    """Seconds that this takes."""
    began = time.perf_counter()
    work(*words, **options)
    return time.perf_counter() - began


# ---- the demo


@contextmanager
def demo(scratch: Path, events: int) -> Iterator[tuple[Path, float]]:
    """The project of a demo that was stopped after it named its URL, and the seconds until then."""
    command = [str(SHROFF), "demo", "--events", str(events), "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"TMPDIR": str(scratch)}
    )
    assert process.stdout is not None
    try:
        if not any(_URL.search(line) for line in process.stdout):
            raise SystemExit("the demo ended before it named its URL")
        seconds = time.perf_counter() - began
    finally:
        process.terminate()
        process.communicate()
    (config,) = scratch.glob("*/**/shroff.yaml")
    yield config.parent, seconds


# ---- the service


def sent(client: httpx2.Client, method: str, path: str, **options: Any) -> httpx2.Response:
    """The answer to a request, which must be a success."""
    answer = client.request(method, path, follow_redirects=True, **options)
    if not answer.is_success:
        raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
    return answer


def pages(client: httpx2.Client, decisions: Sequence[str], loads: int) -> list[Waits]:
    """Each screen, from its first visit on. Decisions are loaded one each."""
    paths = {tab.name: [tab.path] * loads for tab in tabs(PAGES)} | {"Decision": list(decisions)}
    return [
        Waits(f"page {name}", [clocked(sent, client, "GET", path) for path in each], PAGE_S)
        for name, each in paths.items()
    ]


def actions(client: httpx2.Client, folder: Path, decisions: Sequence[str], runs: int) -> list[Waits]:
    """Whatever changes what is active, and replays."""
    client.headers["X-CSRF-Token"] = _CSRF.findall(sent(client, "GET", "/lists").text)[0]
    client.headers["accept"] = "application/json"
    until = time_text(int(time.time() * 1_000) + 30 * DAY_MS)
    case = sent(client, "GET", f"{API}/cases?state=open&limit=1").json()["cases"][0]["id"]
    found: dict[str, list[float]] = defaultdict(list)

    def act(name: str, method: str, path: str, **options: Any) -> None:
        found[name].append(clocked(sent, client, method, f"{API}{path}", **options))

    for run in range(runs):
        rule = f"bench_{run}"
        body = {"text": RULE.format(id=rule, least=20 + run)}
        draft = sent(client, "PUT", f"{API}/rules/{rule}/draft", json=body, headers={"If-None-Match": "*"})
        step = {"etag": draft.headers["etag"].strip('"'), "reason": "bench", "file": "bench.yaml"}
        act("activate a rule", "POST", f"/rules/{rule}/draft/activate", json=step)
        rules = folder / "rules" / "cards.yaml"
        rules.write_text(f"{rules.read_text()}\n{RULE.format(id=f'applied_{run}', least=30 + run)}")
        etag = sent(client, "GET", f"{API}/changes").json()["etag"]
        act("apply changed files", "POST", "/changes/apply", json={"etag": etag})
        quiet = {"rule": rule, "until": until, "text": "bench"}
        act("silence a rule", "POST", f"/cases/{case}/silence", json=quiet)
        entry = {"value": f"c-bench-{run}", "note": "bench"}
        act("add to a list", "POST", "/lists/blocked_cards/entries", json=entry)
        tag = sent(client, "GET", f"{API}/thresholds").headers["etag"]
        cuts = {"reason": "bench", "review_at": 0.1 + run / 100, "decline_at": 0.9}
        act("apply cut-offs", "PUT", "/thresholds/payment", json=cuts, headers={"If-Match": tag})
    replays = [clocked(sent, client, "GET", f"{API}{path}/replay") for path in decisions]
    return [
        *(Waits(name, all_, ACTION_S) for name, all_ in found.items()),
        Waits("replay one decision", replays, REPLAY_S),
    ]


def backtests(client: httpx2.Client, runs: int) -> list[Waits]:
    """A draft of a rule over the whole log: until the bar moves, and until the report."""
    first, whole = [], []
    for run in range(runs):
        body = {"rules": {"draft.yaml": RULE.format(id="draft", least=3 + run)}, "wait": False}
        began = time.perf_counter()
        at = sent(client, "POST", f"{API}/backtests", json=body).headers["location"]
        moved = 0.0
        while True:
            found = sent(client, "GET", at).json()
            if not moved and found["done"]:
                moved = time.perf_counter() - began
            if found["state"] == "failed":
                raise SystemExit(f"the back-test failed: {found['why_not']}")
            if found["state"] == "done":
                break
            time.sleep(0.02)
        whole.append(time.perf_counter() - began)
        first.append(moved or whole[-1])
    return [
        Waits("back-test of a draft, the bar moves", first, FIRST_NUMBER_S),
        Waits("back-test of a draft, its report", whole, FIRST_NUMBER_S),
    ]


# ---- commands


def commands(scratch: Path, runs: int) -> list[Waits]:
    """The tutorial's folder: a project of a few events."""

    def shroff(*words: str) -> None:
        subprocess.run([str(SHROFF), *words], check=True, cwd=scratch, capture_output=True)

    shroff("init", "bank", "--with", "tutorial")
    shroff("-C", "bank", "ingest", "bank/tutorial/burst.jsonl")
    labels = scratch / "labels.csv"
    labels.write_text("event,verdict,source,known_at\npayment/p-5,fraud,chargeback,2026-03-05\n")
    timed = {
        "shroff check": (("check",), CHECK_S),
        "shroff label, one event": (("label", str(labels)), COMMAND_S),
        "shroff explain": (("explain", "p-5"), COMMAND_S),
        "shroff verify": (("verify",), COMMAND_S),
    }
    return [
        Waits(name, [clocked(shroff, "-C", "bank", *words) for _ in range(runs)], asked)
        for name, (words, asked) in timed.items()
    ]


def report(found: Sequence[Waits], places: int) -> str:
    """A row for each."""
    head = "| what | times | first, ms | median | p95 | asked | |"
    about = (__doc__ or "").split("\n\n")[1].replace("\n", " ")
    rows = "\n".join([head, "| --- " * 7 + "|", *(item.row for item in found)])
    return f"# What a person waits for\n\n{about}\n\n{describe()}. {places:,} payments.\n\n{rows}\n"


def main() -> None:
    """Read the options, measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--loads", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="write bench/results/interactive.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "demo").mkdir()
        with demo(scratch / "demo", options.events) as (folder, seconds):
            found = [Waits("shroff demo, until its URL", [seconds], DEMO_S)]
            password = prepare(folder)
            decisions = drawn(folder, options.loads)
            serve = [str(SHROFF), "-C", str(folder), "serve", "--port", "0"]
            with running(serve, 0) as port, closing(signed_in(f"http://127.0.0.1:{port}", password)) as client:
                time.sleep(SIGNS_IN_S)
                found += pages(client, decisions, options.loads)
                found += actions(client, folder, decisions, options.runs)
                found += backtests(client, options.runs)
        found += commands(scratch, options.runs)
    text = report(found, options.events)
    if options.keep:
        write_result("interactive", text)
    print(text)


if __name__ == "__main__":
    main()
