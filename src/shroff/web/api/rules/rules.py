"""The newest events that a rule hit, over HTTP, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shroff.cases.case_queries import hidden
from shroff.events.event import TimeText, time_text
from shroff.explain.hit_records import HitEvent
from shroff.language.values import show_decimal
from shroff.operations.pagination import cursor_of, limit_of, next_of, parted
from shroff.people.access import Right
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import PAGED, api

if TYPE_CHECKING:
    from collections.abc import Container

    from shroff.web.service import Service


class RuleHit(msgspec.Struct):
    """An event that a rule hit. `shadow` says whether the rule was in shadow then."""

    event: str
    id: str
    seq: int
    time: TimeText
    money: str | None
    shadow: bool
    verdict: str | None
    immature: bool


class RuleHits(msgspec.Struct):
    """A page of hits, the newest first."""

    hits: list[RuleHit]
    next: str | None


async def hits(service: Service, request: Request) -> Json[RuleHits]:
    """The newest events at which a rule hit."""
    rule, looks = request.path_params["rule"], service.project.rule_looks
    await service.in_thread(lambda: looks.one(rule, is_whole=True))
    limit, before = limit_of(request.query_params), cursor_of(request.query_params, int)
    found, last = parted(looks.records.newest(rule, before, limit + 1), limit)
    unseen = await service.in_thread(hidden, service.cases, [hit.name for hit in found])
    return Json(
        RuleHits([_hit(hit, rule, service, unseen) for hit in found], None if last is None else next_of(last.seq))
    )


def _hit(hit: HitEvent, rule: str, service: Service, unseen: Container[str]) -> RuleHit:
    definitions = service.project.definitions
    places = definitions.settings.money_places
    return RuleHit(
        hit.event,
        hit.id,
        hit.seq,
        time_text(hit.time_ms),
        None if hit.amount_minor is None else show_decimal(hit.amount_minor, places),
        hit.rules[rule],
        None if hit.name in unseen else hit.verdict or None,
        service.project.rule_looks.records.is_immature(hit, definitions),
    )


ROUTES = (
    api("GET", "/rules/{rule}/hits", Right.READ_DECISIONS, hits)(
        "List the newest events that a rule hit, with their labels.",
        "A page of hits.",
        problems={400: "", 404: ""},
        query=PAGED,
    ),
)
