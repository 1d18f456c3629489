"""Operation that lists the newest events that a rule hit, page by page."""

from __future__ import annotations

from typing import Annotated

import msgspec

from shroff.cases.case_queries import hidden
from shroff.cases.case_service import CaseService
from shroff.events.event import TimeText, time_text
from shroff.language.values import show_decimal
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, operation
from shroff.operations.pagination import LIMIT, Cursor, Limit, cursor_of, next_of, parted
from shroff.project.definitions import Definitions
from shroff.services.rules.files import NoRuleError
from shroff.services.rules.overview import RuleLooks


class ListHits(OperationRequest["RuleHits"]):
    rule: Annotated[str, Param(complete="rules")]
    limit: Limit = LIMIT
    cursor: Cursor = ""


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


class RuleHits(OperationAnswer):
    """A page of hits, the newest first."""

    hits: list[RuleHit]
    next: str | None


@operation(
    "rules hits", right="read:decisions", http="GET /rules/{rule}/hits", has_command=False, refusals=[NoRuleError]
)
def list_hits(rule_looks: RuleLooks, cases: CaseService, definitions: Definitions, request: ListHits) -> RuleHits:
    """List the newest events that a rule hit, with their labels."""
    rule, records = request.rule, rule_looks.records
    rule_looks.one(rule, is_whole=True)
    before = cursor_of({"cursor": request.cursor}, int)
    page, last = parted(records.newest(rule, before, request.limit + 1), request.limit)
    unseen, places = hidden(cases, [hit.name for hit in page]), definitions.settings.money_places
    hits = [
        RuleHit(
            hit.event,
            hit.id,
            hit.seq,
            time_text(hit.time_ms),
            None if hit.amount_minor is None else show_decimal(hit.amount_minor, places),
            hit.rules[rule],
            None if hit.name in unseen else hit.verdict or None,
            records.is_immature(hit, definitions),
        )
        for hit in page
    ]
    return RuleHits(hits=hits, next=None if last is None else next_of(last.seq))
