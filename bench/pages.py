"""Pages of a service over a long log: how long each takes at the server, and what its first load weighs.

The service runs alone on one core. Each page is loaded by somebody who is signed in, one load after the other; the
time is what the service says in `Server-Timing`: from the whole request to the whole answer, without the way there.
Decision and Entity are those of events drawn from the whole log. Weights are bytes over the wire in a Chromium that has
nothing of the service yet.

    python -m bench.pages [--decisions 100000] [--project FOLDER] [--loads 200] [--scratch FOLDER] [--keep]

Without a project one is made: the template `payments` over payments of the made-up bank, from which cases are raised.
A project that is named gets a user `bench` whose password is drawn anew, and is served as it lies there.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import httpx2
import msgspec

from bench.machine import describe, write_result
from bench.service import ME, SHROFF, running
from shroff.config import TEMPLATE_FOLDER
from shroff.examples.bank import bank
from shroff.people import users
from shroff.people.access import Role
from shroff.services import project as app
from shroff.web.pages.renderer import tabs
from shroff.web.table import PAGES
from tools.browser import browser
from tools.weighing import PARTS, Weight, weigh

TEMPLATE = TEMPLATE_FOLDER / "payments"
AT_ONCE = 1_000_000  # payments that lie in a file beside the log while it grows
TIMED = ("Live", "Queue", "Decision", "Entity")
FEW = 20  # loads of the other screens
ASKED_MS, ASKED_BYTES = 100.0, 150_000
NAME = "bench"
_TIME = re.compile(r"total;dur=([\d.]+)")
_ENTITY = re.compile(r'href="(/entities/[^"?]+)"')


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds at the server of one page's loads, in their order."""

    name: str
    loads: Sequence[float]

    def quantile(self, share: float) -> float:
        ordered = sorted(self.loads)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def row(self) -> str:
        parts = (self.loads[0], *(self.quantile(share) for share in (0.5, 0.95)), max(self.loads))
        return f"| {self.name} | {len(self.loads)} | {' | '.join(f'{part:,.1f}' for part in parts)} |"


# ---- what is served


def make(folder: Path, decisions: int) -> None:
    """A bank with so many decisions."""
    shutil.copytree(TEMPLATE, folder)
    project, encode = app.open_exactly(folder), msgspec.json.Encoder().encode
    payments, lines = bank(decisions, seed=2), folder / "payments.jsonl"
    for first in range(0, decisions, AT_ONCE):
        with lines.open("wb") as file:
            file.writelines(
                encode(payment.event) + b"\n" for payment in islice(payments, min(AT_ONCE, decisions - first))
            )
        project.ingest([lines], as_type="payment")
        print(f"{min(decisions, first + AT_ONCE):,} payments decided", flush=True)
    lines.unlink()


def prepare(folder: Path) -> str:
    """Raise cases, note keys, and let somebody in; gives their password. What was done before is not done again."""
    project, password = app.open_exactly(folder), secrets.token_urlsafe(12)
    with project.people.open() as people, project.log.reading() as log:
        project.cases.follower(project.cases.desk(people), log).follow()
        with people.store.look() as look:
            is_known = any(user.name == NAME for user in look.users())
        if is_known:
            users.set_password(people, ME, NAME, password)
        else:
            users.add(people, ME, NAME, Role.ADMIN, password=password)
    return password


def drawn(folder: Path, count: int) -> list[str]:
    """The paths of decisions all over the log."""
    project, found = app.open_exactly(folder), list[str]()
    chance, decided = random.Random(1), project.definitions.events.decided
    with project.log.reading() as log:
        last = log.last_seq()
        while len(found) < count:
            seq = chance.randint(1, last)
            (record,) = next(log.read(seq - 1, seq))
            if record.kind == "event" and record.type in decided:
                found.append(f"/decisions/{record.type}/{record.id}")
    return found


# ---- looking


def signed_in(url: str, password: str) -> httpx2.Client:
    """A browser without a window."""
    client = httpx2.Client(base_url=url, timeout=600.0, headers={"accept": "text/html", "origin": url})
    answer = client.post("/login", data={"name": NAME, "password": password})
    if answer.status_code != 303:
        raise SystemExit(f"{NAME} cannot sign in: {answer.status_code}")
    return client


def timed(client: httpx2.Client, name: str, paths: Iterator[str]) -> tuple[Times, list[str]]:
    """Load these pages; gives what it took and the pages."""
    taken, texts = [], []
    for path in paths:
        answer = client.get(path, follow_redirects=True)
        found = _TIME.search(answer.headers.get("server-timing", ""))
        if answer.status_code != 200 or found is None:
            raise SystemExit(f"{path} was answered by {answer.status_code}")
        taken.append(float(found[1]))
        texts.append(answer.text)
    return Times(name, taken), texts


def all_times(client: httpx2.Client, decisions: Sequence[str], loads: int) -> tuple[list[Times], dict[str, str]]:
    """The times of all screens, and where each of them is."""
    paths = {tab.name: tab.path for tab in tabs(PAGES)}
    decision, pages = timed(client, "Decision", iter(decisions))
    entities = [found[1] for page in pages if (found := _ENTITY.search(page)) is not None]
    times = [timed(client, name, iter([paths[name]] * loads))[0] for name in ("Live", "Queue")]
    times += [decision, timed(client, "Entity", iter(entities))[0]]
    times += [timed(client, name, iter([path] * FEW))[0] for name, path in paths.items() if name not in TIMED]
    return times, {**paths, "Decision": decisions[0], "Entity": entities[0]}


def weights(url: str, password: str, paths: Mapping[str, str]) -> dict[str, Weight]:
    """What the first load of each screen weighs."""
    with browser() as found:
        page = found.new_page()
        page.goto(f"{url}/login")
        page.fill("[name=name]", NAME)
        page.fill("[name=password]", password)
        page.click("main button")
        page.wait_for_selector("header.top")
        state = page.context.storage_state()
        return dict(zip(paths, weigh(found, [f"{url}{path}" for path in paths.values()], state), strict=True))


# ---- what is told


def times_table(found: Sequence[Times]) -> str:
    """A line for each page."""
    head = "| page | loads | first, ms | p50 | p95 | most |"
    return "\n".join([head, "| --- " * 6 + "|", *(item.row for item in found)])


def weights_table(found: Mapping[str, Weight]) -> str:
    """A line for each screen, in kilobytes of 1,000."""
    lines = [f"| first load of | {' | '.join(PARTS)} | all, kB |", "| --- " * (len(PARTS) + 2) + "|"]
    for name, weight in found.items():
        shown = " | ".join(f"{weight.by_part[part] / 1_000:.1f}" for part in PARTS)
        lines.append(f"| {name} | {shown} | {weight.whole / 1_000:.1f} |")
    return "\n".join(lines)


def verdict(times: Sequence[Times], weighed: Mapping[str, Weight]) -> str:
    """Whether what was asked is kept."""
    slowest = max((page for page in times if page.name in TIMED), key=lambda page: page.quantile(0.95))
    heaviest = max(weighed, key=lambda name: weighed[name].whole)
    return (
        f"Slowest of {', '.join(TIMED)}: {slowest.name}, p95 {slowest.quantile(0.95):.1f} ms (asked {ASKED_MS:.0f}). "
        f"Heaviest: {heaviest}, {weighed[heaviest].whole / 1_000:.1f} kB (asked {ASKED_BYTES / 1_000:.0f})."
    )


def run(folder: Path, loads: int, *, keep: bool) -> None:
    """Measure, print, and write the table."""
    began = time.perf_counter()
    password = prepare(folder)
    paths = drawn(folder, loads)
    with app.open_exactly(folder).log.reading() as log:
        places = log.last_seq()
    print(f"{places:,} places, prepared in {time.perf_counter() - began:.0f} s", flush=True)
    with running([str(SHROFF), "-C", str(folder), "serve", "--port", "0"], 0) as port:
        url = f"http://127.0.0.1:{port}"
        with closing(signed_in(url, password)) as client:
            times, where = all_times(client, paths, loads)
        weighed = weights(url, password, where)
    about = (__doc__ or "").split("\n\n")[1].replace("\n", " ")
    parts = [f"# Pages over {places:,} places of the log", about, times_table(times), weights_table(weighed)]
    text = "\n\n".join([*parts, verdict(times, weighed), describe()]) + "\n"
    if keep:
        write_result("pages", text)
    print(text)


def parser(text: str | None, result: str) -> argparse.ArgumentParser:
    """The options that benchmarks of pages have in common."""
    found = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--project", type=Path, default=None, help="a project with a log, in place of one that is made")
    found.add_argument("--scratch", type=Path, default=None, help="a folder; a million decisions take 2 GB")
    found.add_argument("--keep", action="store_true", help=f"write bench/results/{result}.md")
    return found


@contextmanager
def project_of(options: argparse.Namespace, made: Callable[[Path], None]) -> Iterator[Path]:
    """The folder of the project that is named or made; the service then has a core of its own."""
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        folder = options.project
        if folder is None:
            made(folder := Path(scratch) / "bank")
        if len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, {1})
        yield folder


def main() -> None:
    """Read the options."""
    options_of = parser(__doc__, "pages")
    options_of.add_argument("--decisions", type=int, default=100_000)
    options_of.add_argument("--loads", type=int, default=200)
    options = options_of.parse_args()
    with project_of(options, partial(make, decisions=options.decisions)) as folder:
        run(folder, options.loads, keep=options.keep)


if __name__ == "__main__":
    main()
