"""The page Live, and the stream of its changed parts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.json_types import JsonObject, TextMapping
from shroff.monitoring.live_metrics import RuleHitRate
from shroff.people.access import Right, Who
from shroff.runtime.values import FrozenStruct
from shroff.web.api.decisions import summaries_of
from shroff.web.api.live import PERIODS, CasesOpen, LiveLook, cases_of, look, period_of
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.http.streaming import Stream, told, updates
from shroff.web.pages.charts.plots import Axis, Plot, nice, plot_of
from shroff.web.pages.charts.strips import Strip, strip_of
from shroff.web.pages.charts.windows import FeatureTexts
from shroff.web.pages.renderer import environment, open_cases, open_cases_html, page, times_zone
from shroff.web.pages.words import in_zone

if TYPE_CHECKING:
    from shroff.web.service import Service

PARTS = "spike flow chart rules newest answers backlog".split()
EVERY_S = 1.0
RULES_SHOWN = 8
LINE_HEIGHT = 150
SAID = {"approve": "Approved", "challenge": "Challenged", "review": "Review", "decline": "Declined"}
FAR_HITS = 2  # fewer hits in an hour are never unusual, even for a rule that had none before


class LiveRuleLine(FrozenStruct):
    """A rule's hits of the last hour, with the strip of earlier hours."""

    found: RuleHitRate
    strip: Strip | None

    @property
    def is_usual(self) -> bool:
        return self.strip is not None and not self.strip.is_far


async def show(service: Service, request: Request) -> Response:
    found = await look(service, period_of(request.query_params))
    shown = await service.in_thread(screen_of, service, found, *_seen_by(found, request.who))
    return await page(service, request, "live.html", live=shown, periods=PERIODS.values())


def _seen_by(found: LiveLook, who: Who) -> tuple[CasesOpen, bool]:
    return cases_of(found, who), who.may(Right.READ_METRICS)


def screen_of(service: Service, found: LiveLook, cases: CasesOpen, may_check: bool) -> JsonObject:  # noqa: FBT001 - run in a thread
    figures = found.figures
    names = [(row.event, row.id) for row in figures.newest]
    lines = [LiveRuleLine(rule, strip_of(rule.hits, rule.usual)) for rule in figures.rules]
    stopped = [float(step.not_approved) for step in figures.steps]
    return {
        "look": found,
        "cases": cases,
        "may_check": may_check,
        "titles": FeatureTexts(service.project.definitions),
        "currency": service.project.definitions.settings.currency,
        "decided": next(iter(service.project.definitions.events.decided), ""),
        "outcomes": SAID,
        "line": _line([step.decided for step in figures.steps]),
        "bars": _bars(stopped),
        "bars_most": round(max(stopped, default=0)),
        "summaries": summaries_of(service.project, names),
        "whys": service.reasons.of(names),
        "rules": lines,
        "rules_shown": RULES_SHOWN,
        "spikes": [rule for rule in figures.rules if rule.is_spike and not rule.is_shadow],
        "rules_far": sum(
            line.strip is not None and line.strip.is_far and line.found.hits >= FAR_HITS for line in lines
        ),
    }


def _line(values: Sequence[int]) -> Plot:
    points = [(number + 0.5, float(value)) for number, value in enumerate(values)]
    y = Axis(0.0, nice(max(4, *values, 4)))
    return plot_of(
        {"now": points},
        x=Axis(0.0, float(len(values))),
        y=y,
        height=LINE_HEIGHT,
        spots=[(point, "dot-now", "") for point in points[-1:]],
    )


def _bars(values: Sequence[float]) -> list[tuple[float, float, float, float]]:
    largest = max(1.0, *values, 1.0)
    width = 100 / max(1, len(values))
    heights = [round(100 * value / largest, 2) for value in values]
    return [
        (round(width * (number + 0.15), 2), round(100 - height, 2), round(width * 0.7, 2), height)
        for number, height in enumerate(heights)
        if height
    ]


async def stream(service: Service, request: Request) -> Response:
    period = period_of(request.query_params)
    shown = dict[str, str]()
    zone = times_zone(service, request)

    async def changed() -> bytes | None:
        newest = await look(service, period)
        parts = await service.in_thread(_rendered, newest, service, *_seen_by(newest, request.who))
        rendered = {name: in_zone(html, zone) for name, html in parts.items()}
        rendered["open"] = open_cases_html(await open_cases(service, request.who))
        changes = {name: html for name, html in rendered.items() if shown.get(name) != html}
        shown.update(rendered)
        return told("parts", changes) if changes else None

    return Stream(service, request, updates(service, request, changed, EVERY_S))


@lru_cache(maxsize=4 * len(PERIODS))
def _rendered(found: LiveLook, service: Service, cases: CasesOpen, may_check: bool) -> TextMapping:  # noqa: FBT001 - a key
    screen = screen_of(service, found, cases, may_check)
    module = environment().get_template("live_parts.html").module
    return {name: str(getattr(module, name)(screen)) for name in PARTS}


ROUTES = (
    Route("GET", "/live", Right.READ_DECISIONS, show, screen=Screen("Live", "Results", 2)),
    Route("GET", "/live/stream", Right.READ_DECISIONS, stream),
)
