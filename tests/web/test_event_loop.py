"""Handlers leave the event loop free: what grows with files, lists or the log is done on threads."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import pytest
from jinja2 import Template

from shroff.config import TEMPLATE_FOLDER
from shroff.language.parser import LENGTH_MAX
from shroff.language.yaml.text import read
from shroff.rules.texts import form_of
from shroff.runtime.atomic_files import csv_line
from shroff.services.apply.deployment import tag_of
from shroff.web.http.authentication import gate_of
from shroff.web.http.routes import Route
from shroff.web.pages.rules.diffs import LINES_MAX, diff
from tests.support.webs import Asker, Browser, asker, let_in

pytestmark = pytest.mark.slow

RULE = "- id: {}\n  on: payment\n  by: card\n  when: {}\n  effect: review\n"
NESTED = "(" * LENGTH_MAX + "1 > 0" + ")" * LENGTH_MAX
HEADER = "value,note,added_by,expires_at\n"
IDS = {"event": "payment", "entity": "card", "key": "c-1", "list": "large", "id": "1", "name": "large"}
GROWING = {
    function.__code__: function.__name__ for function in (Template.render, read, form_of, diff, tag_of, csv_line)
}
WAITING = frozenset({"open", "execute", "fetchall", "scandir"})  # functions of the interpreter: of files and stores
KEPT = frozenset(["zones", "cookbook", "_about", "problem_page"])  # of what is the same in every project, or is short


class Watch:
    """What is called on the event loop that grows, or waits, by the path of its route."""

    def __init__(self) -> None:
        self.found = Counter[tuple[str, str]]()
        self.path = ""

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        name = GROWING.get(frame.f_code, "") if event == "call" else ""
        if event == "c_call" and getattr(called, "__name__", "") in WAITING:
            name = str(called.__name__)
        if name and not (KEPT & names_of(frame)):
            self.found[self.path, name] += 1


def names_of(frame: FrameType | None) -> set[str]:
    """The names of a function and of those that called it."""
    found = set[str]()
    while frame is not None:
        found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found


def paths_of(routes: Sequence[Route]) -> Iterator[str]:
    """The addresses to look at; those of a rule with one that is active, and with a draft."""
    for route in routes:
        if route.method == "GET" and route.right is not None and not route.path.endswith("/stream"):
            for rule in ("large", "nest") if "{rule}" in route.path else ("",):
                yield re.sub(r"{(\w+)}", lambda found, rule=rule: (IDS | {"rule": rule}).get(found[1], "x"), route.path)


def test_no_route_reads_renders_or_compares_on_the_event_loop(tmp_path):
    folder = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    (folder / "rules/large.yaml").write_text(RULE.format("large", "this.amount > 0"))
    (folder / "lists/large.csv").write_text(HEADER)
    (folder / "drafts").mkdir()
    (folder / "drafts/nest.yaml").write_text(RULE.format("nest", NESTED))
    watch = Watch()

    async def steps(asks: Asker, browser: Browser) -> None:
        await let_in(asks, browser)
        (folder / "lists/large.csv").write_text(HEADER + "".join(f"k-{number},,ann,\n" for number in range(5_000)))
        changes = await browser.get("/changes")
        assert changes.body.count(b"<ins>") <= 2 * LINES_MAX
        assert b"more lines" in changes.body
        for watch.path in paths_of(asks.service.routes):
            sys.setprofile(watch)  # of this thread, which is that of the event loop
            answer = await browser.get(watch.path)
            sys.setprofile(None)
            assert answer.status < 500, (watch.path, answer)

    async def whole() -> None:
        async with asker(folder, gate=gate_of) as asks:
            await steps(asks, Browser(asks))

    try:
        asyncio.run(whole())
    finally:
        sys.setprofile(None)

    assert watch.found == Counter()
