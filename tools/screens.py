"""Pictures of every screen with the demo's data, for the docs: docs/screens/NAME-VIEW.webp.

python -m tools.screens [NAME...] [--events 100000] [--to docs/screens]
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import Page

from shroff import open as open_project
from shroff.examples.bank import bank_from, stretch_upto
from shroff.runtime.values import replace
from tools.browser import browser

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "docs" / "screens"
EVENTS: Final = 100_000
PATIENCE_MS: Final = 120_000
ENDS_S: Final = 120
ZONE: Final = "Europe/Berlin"
RULE: Final = "amount_far_above_mean"
SCHEDULES: Final = """\
nightly_training: { kind: train, cron: "30 2 * * *", zone: Europe/Berlin, params: { promote: true }, retries: 2 }
morning_features: { kind: features, cron: "0 5 * * 1-5", zone: Europe/Berlin, params: { event: payment } }
"""
STREAMED: Final = ("live", "queue", "case", "organizations")  # a stream of theirs stays open
PROJECT: Final[ContextVar[Path]] = ContextVar("project")  # that is served
LAST_DAYS: Final = 6_000  # payments of a bank of 60,000: about six days
QUALITY: Final = 80  # a page is below 100 kB then, and its text still sharp; PNG takes twice as much


@dataclass(frozen=True, slots=True)
class View:
    """Through what a screen is looked at."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]


DESK: Final = View("1280", 1280, 900, "light")
DARK: Final = View("1280-dark", 1280, 900, "dark")
PHONE: Final = View("390", 390, 844, "light")


@dataclass(frozen=True, slots=True)
class Picture:
    """One screen: how somebody who is signed in comes to it, and its views."""

    name: str
    open: Callable[[Page], object]
    views: tuple[View, ...] = (DESK,)


# ---- the ways to screens


LAWS = """
blocked_cards:
  sentence: A blocked card is declined.
  on: payment
  when: this.card in lists.blocked_cards
  never: [approve, challenge, review]
  required: true
large_held:
  sentence: A payment above 10,000 is never approved.
  on: payment
  when: this.amount > 10_000
  never: [approve]
"""


def laws(page: Page) -> None:
    """The screen of laws, two of which the demo does not have by itself."""
    folder = PROJECT.get() / "laws"
    folder.mkdir(exist_ok=True)
    (folder / "cards.yaml").write_text(LAWS, encoding="utf-8")
    at("/laws")(page)


def at(path: str) -> Callable[[Page], object]:
    """The way to a screen that has an address of its own."""

    def go(page: Page) -> None:
        page.goto(path)
        page.locator("[data-again]").wait_for(state="detached")  # it shows all that it will

    return go


def open_cases(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.request.get("/api/v1/cases?state=open&limit=100").json()["cases"]
    return found


def case(page: Page) -> None:
    """A case of several events: what its answer covers is then more than a decision's."""
    most = max(open_cases(page), key=lambda case: case["alerts"])
    page.goto(f"/cases/{most['id']}")


def decision(page: Page) -> None:
    case(page)
    page.get_by_role("link", name="The whole decision").click()
    page.wait_for_url("**/decisions/**")


def entity(page: Page) -> None:
    case(page)
    page.locator(".case-head .line a").first.click()
    page.wait_for_url("**/entities/**")


def notebook(page: Page) -> None:
    """What a notebook shows of the thresholds and the results of the served project."""
    project = open_project(PROJECT.get())
    cells: dict[str, Any] = {
        "project.thresholds()": project.thresholds(),
        'project.results(by="week")': project.results(by="week"),
    }
    shown = "".join(f"<pre><b>{escape(code)}</b></pre>{answer._repr_html_()}" for code, answer in cells.items())
    page.goto("about:blank")  # a page of the service allows no styles of others
    page.set_content(f"<body style='font: 14px sans-serif; margin: 24px'>{shown}</body>")


def links(page: Page) -> None:
    """The links of a card of the ring with most frauds."""
    page.goto("/links")
    page.locator("table a").first.click()
    page.locator(".links .of-fraud").first.wait_for()


def draft(page: Page) -> None:
    page.goto(f"/rules/{RULE}/draft")
    page.locator("[data-view=text]").click()
    text = page.locator("textarea#text")
    text.fill(text.input_value().replace("this.amount > 300", "this.amount > 400"))
    text.press("Control+s")
    page.get_by_text("Saved", exact=True).wait_for()


def backtest(page: Page) -> None:
    draft(page)
    page.get_by_role("button", name="Backtest").click()
    page.get_by_role("heading", name="Outcomes: without and with the draft").wait_for()


def model(page: Page) -> None:
    page.goto("/models")
    page.locator("tbody th a").first.click()
    page.wait_for_url("**/models/*")


def jobs(page: Page) -> None:
    page.goto("/jobs")
    page.get_by_role("row", name="morning_features").get_by_role("button", name="Run now").click()
    page.get_by_text('"columns"').wait_for()
    page.goto("/jobs")


def suggestions(page: Page) -> None:
    page.goto("/suggestions")
    page.get_by_role("button", name="Search now").click()
    page.locator("footer", has_text=re.compile(r"^\s*Searched ")).wait_for()


def drift(page: Page) -> None:
    page.goto("/drift")
    page.get_by_role("button", name="Measure now").click()
    page.get_by_text("Alert since").wait_for()


def disputes(page: Page) -> None:
    """Of payments that are weeks old, each over its whole amount."""
    page.goto("/entities")
    page.evaluate("""async () => {
        const days = (count) => new Date(Date.now() + count * 86400000).toISOString();
        const of = async (path) => (await fetch(`/api/v1${path}`)).json();
        const cards = [...document.querySelectorAll("tbody th a")].slice(0, 5).map((link) => link.pathname);
        const payments = await Promise.all(cards.map(async (card) => {
            const { timeline } = await of(`${card}?limit=50`);
            const { event, id } = timeline.at(-1);
            return of(`/decisions/${event}/${id}`);
        }));
        const disputes = payments.map((payment, at) => ({
            event: `${payment.event}/${payment.id}`, stage: "dispute", known_at: days(-2 - at), due: days(6 * at - 1),
            network: "visa", code: "10.4", amount: payment.amount,
        }));
        const headers = {
            "X-CSRF-Token": document.querySelector("meta[name=csrf]").content, "Content-Type": "application/json",
        };
        await fetch("/api/v1/disputes", {method: "POST", headers, body: JSON.stringify({disputes})});
    }""")
    page.goto("/disputes")


def mail(page: Page) -> None:
    page.goto("/mails")
    page.get_by_role("link", name="Was this you").first.click()
    page.wait_for_url("**/mails/kept/**")


def customer(page: Page) -> None:
    """By the link of the mail's file: no screen has it."""
    mail(page)
    file = PROJECT.get() / ".shroff" / "mail" / f"{page.url.rpartition('/')[2]}.eml"
    plain = message_from_bytes(file.read_bytes(), policy=SMTP).get_body(("plain",))
    path = re.search(r"/confirm/\S+", "" if plain is None else plain.get_content())
    assert path is not None
    page.goto(path[0])


def first_run(page: Page) -> None:
    """An empty folder is served, and orders of the synthetic shop are dropped; a service of its own."""
    with tempfile.TemporaryDirectory(prefix="shroff-first-run-") as scratch:
        folder, environment = Path(scratch, "mybank"), os.environ | {"PYTHONPATH": str(ROOT / "src")}
        folder.mkdir()
        program = [sys.executable, "-m", "shroff"]
        made = ["generate", "orders", "--batches", "1", "--size", "500", "--out", f"{scratch}/orders"]
        subprocess.run([*program, *made], check=True, env=environment, capture_output=True)
        serve = [*program, "serve", "--port", "0"]
        running = subprocess.Popen(serve, cwd=folder, stderr=subprocess.PIPE, text=True, env=environment)
        assert running.stderr is not None
        address = re.search(r"http://\S+/first/\S+", running.stderr.readline() + running.stderr.readline())
        assert address is not None
        page.goto(address[0])
        page.set_input_files("#file", f"{scratch}/orders/batch-01.parquet")
        page.get_by_text("What the columns mean").first.wait_for()
        page.wait_for_load_state("networkidle")
        running.send_signal(signal.SIGINT)
        running.wait(ENDS_S)


ASKED: Final = """async (asked) => {
    const headers = {
        "X-CSRF-Token": document.querySelector("meta[name=csrf]").content, "Content-Type": "application/json",
    };
    for (const [path, body] of asked)
        await fetch(`/api/v1/${path}`, {method: "POST", headers, body: JSON.stringify(body)});
}"""


PROGRAM: Final = (sys.executable, "-m", "shroff")


def shroff(*words: object, given: str = "") -> str:
    """What a command prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [*PROGRAM, *map(str, words)]
    return subprocess.run(command, check=True, env=environment, input=given, text=True, capture_output=True).stdout


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """A service of its own; gives its address."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    serve = [*PROGRAM, "-C", str(folder), "serve", "--port", "0", *options]
    running = subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, env=environment)
    assert running.stderr is not None
    try:
        yield next(found[0] for line in running.stderr if (found := re.search(r"http://[^/\s]+", line)))
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=ENDS_S)


def sign_in(page: Page, base: str, name: str, password: str) -> None:
    page.context.clear_cookies()
    page.goto(f"{base}/login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: not url.endswith("/login"))


def approvals(page: Page) -> None:
    """Two admins of a service of its own: what one requested, the other sees."""
    password = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory(prefix="shroff-approvals-") as scratch:
        folder = Path(scratch, "bank")
        shroff("init", folder, "--template", "payments")
        for name in ("ann", "ben"):
            shroff("-C", folder, "users", "add", name, "--role", "admin", "--password-stdin", given=password)
        with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
            file.write("\nsecond_person: [lists, users]\n")
        with serving(folder) as base:
            for name in ("ann", "ben"):
                sign_in(page, base, name, password)
                page.goto(f"{base}/approvals")
                entry = {"value": "c-4711", "note": "stolen"}
                eve = {"name": "eve", "role": "author", "display_name": "Eve Ward"}
                asked = [["lists/blocked_cards/entries", entry], ["users", eve]]
                ours = [["keys", {"name": "deploy", "role": "admin"}]]
                page.evaluate(ASKED, asked if name == "ann" else ours)
            page.reload()
            page.wait_for_load_state("networkidle")


def why(page: Page) -> None:
    """The page that tells a customer why: of the fifth of five small payments, which is declined."""
    with tempfile.TemporaryDirectory(prefix="shroff-why-") as scratch:
        folder, file = Path(scratch, "bank"), Path(scratch, "burst.jsonl")
        shroff("init", folder, "--template", "payments")
        where = {"card": "c-7", "merchant": "m-7", "terminal": "t-7", "country": "DE", "channel": "web"}
        begun = datetime.now(UTC) - timedelta(minutes=8)
        times = [f"{begun + timedelta(minutes=at):%Y-%m-%dT%H:%M:%SZ}" for at in range(5)]
        paid = [{**where, "paid_at": time, "amount": f"1.0{at}"} for at, time in enumerate(times, 1)]
        file.write_text("".join(json.dumps({**event, "payment_id": f"p-{at}"}) + "\n" for at, event in enumerate(paid)))
        shroff("-C", folder, "ingest", file, "--as", "payment")
        key = shroff("-C", folder, "keys", "create", "shop", "--role", "admin").split()[0]
        with serving(folder) as base:
            head = {"authorization": f"Bearer {key}"}
            made = page.request.post(f"{base}/api/v1/notices/why", headers=head, data={"event": "payment/p-4"})
            page.goto(made.json()["link"])
            page.wait_for_load_state("networkidle")


def organizations(page: Page) -> None:
    """The menu of somebody who is an analyst in two organizations."""
    password = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory(prefix="shroff-organizations-") as scratch:
        home, file = Path(scratch, "home"), Path(scratch, "payments.jsonl")
        stretch = stretch_upto(60_000, 3, int(time.time() * 1_000))
        newest = bank_from(60_000, 3, replace(stretch, skipped=stretch.skipped + 60_000 - LAST_DAYS))
        file.write_text("".join(json.dumps(payment.event) + "\n" for payment in islice(newest, LAST_DAYS)))
        shroff("init", home, "--template", "blank")
        shroff("-C", home, "users", "add", "ben", "--role", "member", "--password-stdin", given=password)
        for name in ("north", "south"):
            folder = Path(scratch, "banks", name)
            shroff("init", folder, "--template", "payments")
            shroff("-C", folder, "users", "add", "ben", "--role", "analyst")
            shroff("-C", folder, "ingest", file, "--as", "payment")
        with serving(home, "--organizations", f"{scratch}/banks") as base:
            sign_in(page, base, "ben", password)
            page.locator("#organizations").get_by_role("link", name="north").click()
            page.locator("tr[data-row]").first.wait_for()
            page.locator("details.organizations summary").click()


# As somebody meets them. What customers see is last but one, they are not signed in; then services of their own.
PICTURES: Final = (
    Picture("first-run", first_run),
    Picture("queue", at("/queue"), (DESK, DARK, PHONE)),
    Picture("case", case, (DESK, PHONE)),
    Picture("decision", decision, (DESK, DARK, PHONE)),
    Picture("entities", at("/entities")),
    Picture("entity", entity, (DESK, PHONE)),
    Picture("team", at("/team")),
    Picture("live", at("/live"), (DESK, DARK)),
    Picture("decisions", at("/decisions"), (DESK, PHONE)),
    Picture("search", at("/find")),
    Picture("links", links),
    Picture("notebook", notebook, (replace(DESK, height=1_720),)),
    Picture("rules", at("/rules")),
    Picture("rule", at(f"/rules/{RULE}")),
    Picture("draft", draft, (DESK, DARK)),
    Picture("backtest", backtest, (DESK, DARK)),
    Picture("suggestions", suggestions),
    Picture("models", at("/models")),
    Picture("model", model),
    Picture("thresholds", at("/thresholds"), (DESK, PHONE)),
    Picture("experiments", at("/experiments")),
    Picture("laws", laws),
    Picture("results", at("/results")),
    Picture("labels", at("/labels"), (DESK, PHONE)),
    Picture("disputes", disputes),
    Picture("drift", drift),
    Picture("lists", at("/lists")),
    Picture("features", at("/features")),
    Picture("tables", at("/tables")),
    Picture("analytics", at("/analytics"), (DESK, PHONE)),
    Picture("sources", at("/sources")),
    Picture("jobs", jobs, (DESK, PHONE)),
    Picture("mails", at("/mails")),
    Picture("mail", mail),
    Picture("outbox", at("/mails/letters")),
    Picture("notifications", at("/mails/notices")),
    Picture("health", at("/checks")),
    Picture("audit-log", at("/settings/audit")),
    Picture("users", at("/settings/users")),
    Picture("api-keys", at("/settings/keys")),
    Picture("customer", customer, (DESK, PHONE)),
    Picture("approvals", approvals, (DESK, PHONE)),
    Picture("why", why, (DESK, PHONE)),
    Picture("organizations", organizations, (DESK, PHONE)),
)


def files() -> list[str]:
    """The names of all pictures' files."""
    return [f"{picture.name}-{view.name}.webp" for picture in PICTURES for view in picture.views]


# ---- taking them


@contextmanager
def demo(events: int) -> Iterator[dict[str, Any]]:
    """The demo, served; gives what it told when it could be opened."""
    with tempfile.TemporaryDirectory(prefix="shroff-screens-") as folder:
        command = [sys.executable, "-m", "shroff", "demo", "--json", "--port", "0", "--events", str(events)]
        environment = os.environ | {"TMPDIR": folder, "PYTHONPATH": str(ROOT / "src")}
        running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            if not line:
                raise SystemExit("the demo did not come to be served; see above")
            told = json.loads(line)
            PROJECT.set(Path(told["project"]))
            (PROJECT.get() / "schedules.yaml").write_text(SCHEDULES, encoding="utf-8")
            yield told
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(ENDS_S)


def take(page: Page, picture: Picture, folder: Path) -> None:
    """Open a screen and take its pictures, once the reasons that it asks for one by one are there."""
    picture.open(page)
    if picture.name not in STREAMED:
        page.wait_for_load_state("networkidle")
    page.evaluate("document.fonts.ready")
    camera = page.context.new_cdp_session(page)  # Playwright itself makes PNG and JPEG alone
    for view in picture.views:
        page.set_viewport_size({"width": view.width, "height": view.height})
        page.emulate_media(color_scheme=view.scheme, reduced_motion="reduce")
        file = folder / f"{picture.name}-{view.name}.webp"
        taken = camera.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
        file.write_bytes(base64.b64decode(taken["data"]))
        print(f"{file.name}  {file.stat().st_size // 1_024} kB", flush=True)
    page.set_viewport_size({"width": DESK.width, "height": DESK.height})
    page.emulate_media(color_scheme=DESK.scheme, reduced_motion="reduce")


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("name", nargs="*")
    arguments.add_argument("--events", type=int, default=EVENTS)
    arguments.add_argument("--to", type=Path, default=FOLDER)
    chosen = arguments.parse_args()
    if unknown := set(chosen.name) - {path.name for path in PICTURES}:
        arguments.error(f"there is no screen {', '.join(sorted(unknown))}")
    chosen.to.mkdir(parents=True, exist_ok=True)
    wanted = [path for path in PICTURES if not chosen.name or path.name in chosen.name]
    with demo(chosen.events) as told, browser() as found:
        base = told["url"].partition("/login/")[0]
        size: Any = {"width": DESK.width, "height": DESK.height}
        here = found.new_context(base_url=base, viewport=size, timezone_id=ZONE, reduced_motion="reduce")
        here.set_default_timeout(PATIENCE_MS)
        page = here.new_page()
        page.goto(told["url"])
        page.get_by_role("button").click()
        page.wait_for_url("**/queue")
        for picture in wanted:
            take(page, picture, chosen.to)
    return 0


if __name__ == "__main__":
    sys.exit(main())
