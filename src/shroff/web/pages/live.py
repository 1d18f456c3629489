"""What happens now: the page, and the stream of its parts that changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.monitoring.pulse import RuleHits
from shroff.web.gate import COOKIE
from shroff.web.http import Request, Response
from shroff.web.live import PERIODS, Look, look, period_of
from shroff.web.pages.charts import Bar, Chart, bars_of, line_of
from shroff.web.pages.decision import decision_path
from shroff.web.pages.rendering import environment, page
from shroff.web.pages.strips import Strip, strip_of
from shroff.web.streaming import Stream

if TYPE_CHECKING:
    from shroff.web.service import Service

PARTS: Final = ("spike", "flow", "chart", "rules", "newest", "answers", "backlog")
EVERY_S: Final = 1.0
STILL_HERE_S: Final = 15.0  # a word in between, so that nothing on the way takes the connection for a dead one
LASTS_S: Final = 3_600.0
RULES_SHOWN: Final = 8
LINE_HEIGHT: Final = 150
BARS_HEIGHT: Final = 44
SAID: Final = {"approve": "Approved", "challenge": "Challenged", "review": "Review", "decline": "Declined"}


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule of the last hour, with the strip of its hours before."""

    found: RuleHits
    strip: Strip | None


@dataclass(frozen=True, slots=True)
class Screen:
    """What templates show of a look."""

    look: Look
    currency: str
    outcomes: Mapping[str, str]
    line: Chart
    bars: list[Bar]
    bars_most: int
    rules: list[RuleLine]
    rules_more: int
    spikes: list[RuleHits]


async def show(service: Service, request: Request) -> Response:
    """The page, whole without a script."""
    found = await look(service, period_of(request.query))
    shown = screen_of(found, service.project.definitions.settings.currency)
    return page(service, request, "live.html", live=shown, periods=PERIODS.values(), decision_path=decision_path)


def screen_of(found: Look, currency: str) -> Screen:
    """A look as the templates want it."""
    figures = found.figures
    lines = [RuleLine(one, strip_of(one.hits, one.usual)) for one in figures.rules]
    stopped = [float(one.not_approved) for one in figures.steps]
    return Screen(
        found,
        currency,
        SAID,
        line_of([one.decided for one in figures.steps], LINE_HEIGHT),
        bars_of(stopped, BARS_HEIGHT),
        round(max(stopped, default=0)),
        lines[:RULES_SHOWN],
        len(lines[RULES_SHOWN:]),
        [one for one in figures.rules if one.is_spike and not one.is_shadow],
    )


async def stream(service: Service, request: Request) -> Response:
    """The parts of the page as they change, as server-sent events."""
    period_of(request.query)
    return Stream(service, request, _parts(service, request))


async def _parts(service: Service, request: Request) -> AsyncGenerator[bytes]:
    """Text of the stream. It ends with the service, with the session, and after an hour; browsers then come again."""
    period, token = period_of(request.query), request.cookie(COOKIE)
    currency = service.project.definitions.settings.currency
    shown: dict[str, str] = {}
    said_s = looked_s = began_s = time.monotonic()
    yield b"retry: 3000\n\n"
    while not service.is_ending and time.monotonic() - began_s < LASTS_S:
        screen = screen_of(await look(service, period), currency)
        now = await service.in_thread(_rendered, screen)
        changed = {name: html for name, html in now.items() if shown.get(name) != html}
        now_s, shown = time.monotonic(), now
        if changed:
            said_s = now_s
            yield b"event: parts\ndata: " + msgspec.json.encode(changed) + b"\n\n"
        elif now_s - said_s >= STILL_HERE_S:
            said_s = now_s
            yield b": still here\n\n"
        if now_s - looked_s >= STILL_HERE_S:
            looked_s = now_s
            if await service.in_thread(_is_over, service, token):
                return
        await asyncio.sleep(EVERY_S)


def _is_over(service: Service, token: str) -> bool:
    return service.gate.signed_in(token, is_use=False) is None


def _rendered(screen: Screen) -> dict[str, str]:
    module = environment().get_template("live_parts.html").module
    return {name: str(getattr(module, name)(screen, decision_path)) for name in PARTS}
