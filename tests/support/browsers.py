"""A Chromium that looks at pages of a service, and tells what is wrong with each: for people, policies and phones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.support.screens import PATIENCE_MS
from tools.browser import browser
from tools.servers.errors import UnavailableError

DESK, PHONE = (1280, 900), (390, 844)
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],  # to describe each element that is as it should be is half of the work
}
# Those that the size of a screen and its colours decide; the others ask what is there, and how it is named.
OF_LOOKS = {**RULES, "runOnly": ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"]}
# What texts of a screen never hold: signs and days as programs write them, one of many.
WRONG = {
    r"\d%": "a percentage without a space before its sign",
    r"(?<!such as )\b\d{4}-\d\d-\d\d\b": "a day that is not written as 7 March 2026",
    r"\b1 (alert|card|case|change|check|day|entry|event|failure|file|fraud|hit|job|key|label|line|mail|message|payment"
    r"|record|review|row|rule|session|test|user|value)s\b": "one of many",
}
TEXTS = """() => {
    const texts = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode())
        if (!walk.currentNode.parentElement.closest("pre, code, textarea, script, style, option, .mono"))
            texts.push(walk.currentNode.data);
    return texts.join(" ").replace(/[ \\n]+/g, " ");
}"""
# What tables and days of a screen are not: a column without a value, a time in a log without its day, a field of the
# browser that writes days in the order of its own language.
FORMS = """() => {
    const shown = (element) => element.checkVisibility({ visibilityProperty: true });
    const found = [];
    for (const table of document.querySelectorAll("table:has(thead)")) {
        const heads = [...table.tHead.rows[0].cells];
        const all = [...table.tBodies].flatMap((body) => [...body.rows]);
        const rows = all.filter((row) => row.cells.length === heads.length);
        const comes = "[data-why], [aria-busy]"; // reasons are filled in one by one
        const empty = (cell) => !cell.textContent.trim() && !cell.matches(comes)
            && !cell.querySelector(`svg, input, select, textarea, button, ${comes}`);
        heads.forEach((head, at) => {
            if (rows.length && shown(head) && rows.every((row) => empty(row.cells[at])))
                found.push(`the column '${head.textContent}' has no value: ${table.caption?.textContent}`);
        });
    }
    for (const time of document.querySelectorAll(".table:not(.cases) time"))
        if (!/[A-Z][a-z]+/.test(time.textContent)) found.push(`a time of a log without its day: ${time.textContent}`);
    for (const field of document.querySelectorAll("input[type=date]:not(.calendar + input)"))
        found.push(`a day in the order of the browser's language: ${field.outerHTML}`);
    return found;
}"""
# What is cut off and cannot be scrolled to; a field scrolls with its caret, and `data-cut` says that it is on purpose.
CLIPPED = """() => [...document.body.querySelectorAll("*")].filter((node) => {
    const style = getComputedStyle(node), isMeant = node.closest("[data-cut], svg, .unseen, input, select");
    const isCut = /hidden|clip/.test(style.overflowX) && node.scrollWidth > node.clientWidth + 1;
    return isCut && !isMeant && style.textOverflow !== "ellipsis" && node.clientWidth > 1 && node.checkVisibility();
}).map((node) => `${node.outerHTML.slice(0, 120)}: ${node.textContent.trim().slice(0, 60)}`)"""
# Links that look like the words around them: of their colour, without a line, an edge or a ground of their own.
UNSEEN_LINKS = """() => [...document.querySelectorAll("main a[href]:not([aria-current])")].filter((link) => {
    const own = getComputedStyle(link), around = getComputedStyle(link.parentElement), none = /transparent|, 0\\)$/;
    const isDrawn = !none.test(own.backgroundColor) || parseFloat(own.borderTopWidth) > 0;
    const isLined = own.textDecorationLine !== "none" && !none.test(own.textDecorationColor);
    return link.textContent.trim() && own.color === around.color && !isDrawn && !isLined && link.checkVisibility();
}).map((link) => link.outerHTML.slice(0, 120))"""
# Links, buttons and fields whose name lacks the words that stand on them (WCAG 2.5.3, label in name): who speaks to the
# page says what they see. axe has this rule as an experiment only.
OTHER_NAMES = """() => {
    const plain = (text) => text.toLowerCase().replace(/[^\\p{L}\\p{N}]+/gu, " ").trim();
    const seen = (node) => node.nodeType === Node.TEXT_NODE ? node.data
        : node.nodeType !== Node.ELEMENT_NODE || node.matches("[aria-hidden=true], .unseen, svg, select, input") ? ""
        : [...node.childNodes].map(seen).join(" ");
    return [...document.querySelectorAll("a[aria-label], button[aria-label], summary[aria-label]")].filter((node) =>
        node.checkVisibility({ visibilityProperty: true })
        && !` ${plain(node.getAttribute("aria-label"))} `.includes(` ${plain(seen(node))} `)
        && plain(seen(node))).map((node) => node.outerHTML.slice(0, 160));
}"""
JUDGED = Path(__file__).with_name("judged.js")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Where it cannot be had the test is skipped with the reason; in CI it fails."""
    try:
        made = browser()
        found = made.__enter__()
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(f"a browser must be there in CI: {error}")
        pytest.skip(reason=f"a browser cannot be had here: {error}")
    expect.set_options(timeout=PATIENCE_MS)  # of this process: five seconds are few where many work
    try:
        yield found
    finally:
        made.__exit__(None, None, None)


class Looker:
    """Opens pages of one service, and keeps what a person would call a mistake.

    What breaks the content policy is told by the browser at its console.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.mistakes: list[str] = []
        self._host = urlsplit(url).netloc
        self._script = f"{Axe().axe_script}\n{JUDGED.read_text(encoding='utf-8')}"
        self._changed: set[str] = set()  # what a phone shows or hides, of pages that were judged by all rules there
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._note(f"a script failed: {error}"))
        page.on("request", self._asked)

    def open(self, path: str) -> None:
        """Open a page. What comes to the console from a page that is refused on purpose is no mistake."""
        self.page.goto(f"{self.url}{path}")

    def look(self) -> None:
        """Look at the page that is open in light at a desk, and in dark on a phone, once it shows all that it will."""
        self.page.locator("[data-again]").wait_for(state="detached", timeout=120_000)
        if self.page.evaluate("typeof judged") == "undefined":
            self.page.evaluate(self._script)
        texts = self.page.evaluate(TEXTS)
        for pattern, words in WRONG.items():
            for found in re.finditer(pattern, texts):
                self._note(f"{words}: {texts[max(0, found.start() - 40) : found.end() + 20]}")
        for words in self.page.evaluate(FORMS):
            self._note(words)
        for link in self.page.evaluate(UNSEEN_LINKS):
            self._note(f"a link that looks like text: {link}")
        for element in self.page.evaluate(OTHER_NAMES):
            self._note(f"its name lacks the words on it: {element}")
        for (width, height), scheme in ((DESK, "light"), (PHONE, "dark")):  # a theme is of colours alone
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # colours on their way are none
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                self._note(f"it is {wide} px wide on a screen of {width} px")
            for clipped in self.page.evaluate(CLIPPED):
                self._note(f"cut off without a scrollbar at {width} px: {clipped}")
            self._judge(f"{scheme} at {width} px", is_first=scheme == "light")

    def _judge(self, where: str, *, is_first: bool) -> None:
        changed = set(self.page.evaluate("judged.changes()"))
        rules = RULES if is_first or changed - self._changed else OF_LOOKS
        self._changed |= set() if is_first else changed
        found: list[dict[str, Any]] = self.page.evaluate("rules => judged.run(rules)", rules)
        for item in found:
            nodes = "; ".join(node["html"][:160] for node in item["nodes"][:3])
            self._note(f"{where}: {item['id']}: {item['help']}: {nodes}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._note(f"the console says: {message.text}")

    def _asked(self, request: Request) -> None:
        split = urlsplit(request.url)
        if split.scheme in {"http", "https", "ws", "wss"} and split.netloc != self._host:
            self._note(f"it asks another host: {request.url}")

    def _note(self, words: str) -> None:
        self.mistakes.append(f"{self.page.url.removeprefix(self.url)}: {words}")
