"""Rules one by one over HTTP: what each says, did and said before, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypedDict

import msgspec

from shroff.app.rules.agreements import ChangeAsked
from shroff.events.event import TimeText, time_text
from shroff.explain.hit_records import HitEvent, RulePrecision, RuleRecord
from shroff.language.values import show_decimal
from shroff.operations.pagination import cursor_of, limit_of, next_of, parted
from shroff.people.access import Right
from shroff.web.api.rules.drafts import AdoptedFile, put_back
from shroff.web.api.rules.rule_looks import RuleLook, all_rules, one_rule, reason_of, subject_of, who_changed
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.routes import PAGED, api

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.web.service import Service

BODY_BYTES_MAX = 64 * 1024


class RuleReturn(msgspec.Struct, forbid_unknown_fields=True):
    """The version to restore, 0 to remove the rule, and the reason."""

    seq: Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 0})]
    reason: str


class RuleCounts(RulePrecision):
    """Statistics of a rule over the newest part of the log. `fraud` and `genuine` count mature hits."""

    hits: int
    in_shadow: int
    fraud: int
    genuine: int
    unclear: int
    immature: int
    money: str
    fraud_money: str


class RuleState(TypedDict):
    """One rule and its statistics."""

    id: str
    state: str
    file: str | None
    effect: str | None
    in_force: bool
    trial: str | None
    draft: str | None
    changed_at: TimeText | None
    record: RuleCounts


class RuleStates(TypedDict):
    """All rules with their statistics since a time."""

    since: TimeText | None
    rules: list[RuleState]


class RuleWhole(RuleState):
    """One rule with its text, and its changes that wait for a second person."""

    text: str
    says: str | None
    asked: list[ChangeAsked]


class RuleHit(TypedDict):
    """An event that a rule hit. `shadow` says whether the rule was in shadow then."""

    event: str
    id: str
    seq: int
    time: TimeText
    money: str | None
    shadow: bool
    verdict: str | None
    immature: bool


class RuleHits(TypedDict):
    """A page of hits, the newest first."""

    hits: list[RuleHit]
    next: str | None


class RuleVersion(TypedDict):
    """The text of a rule from a sequence number of the log on; null if it was removed."""

    seq: int
    time: TimeText
    file: str
    text: str | None
    by: str | None
    reason: str | None


class RuleVersions(TypedDict):
    """All versions of a rule, newest first."""

    versions: list[RuleVersion]


async def records(service: Service, request: Request) -> Json[RuleStates]:
    """Every rule with what it did."""
    found = await service.in_thread(lambda: all_rules(service, is_whole=True))
    since_ms = service.rule_looks.records.since_ms
    return Json(
        {
            "since": None if since_ms is None else time_text(since_ms),
            "rules": [_shown(one, service.project) for one in found],
        }
    )


async def record(service: Service, request: Request) -> Json[RuleWhole]:
    """One rule: its text, read back, and what it did."""
    id_ = request.path_params["rule"]
    found = await service.in_thread(lambda: one_rule(service, id_, is_whole=True))
    asked = await service.in_thread(service.project.agreements.asked, subject_of(id_))
    return Json(
        {
            **_shown(found, service.project),
            "text": found.text,
            "says": found.says or None,
            "asked": [one.document for one in asked],
        }
    )


async def hits(service: Service, request: Request) -> Json[RuleHits]:
    """The newest events at which a rule hit."""
    id_ = request.path_params["rule"]
    await service.in_thread(lambda: one_rule(service, id_, is_whole=True))
    limit, before = limit_of(request.query_params), cursor_of(request.query_params, int)
    found, last = parted(service.rule_looks.records.newest(id_, before, limit + 1), limit)
    shown = [_hit(one, id_, service) for one in found]
    return Json({"hits": shown, "next": None if last is None else next_of(last.seq)})


async def history(service: Service, request: Request) -> Json[RuleVersions]:
    """Versions of a rule, newest first, and who made each active, where that is in the audit log."""
    id_ = request.path_params["rule"]
    found = await service.in_thread(one_rule, service, id_)
    who = await service.in_thread(who_changed, service.desk, found)
    return Json(
        {
            "versions": [
                {
                    "seq": version.seq,
                    "time": time_text(version.at_ms),
                    "file": version.file,
                    "text": version.text or None,
                    "by": who[version.seq].name if version.seq in who else None,
                    "reason": reason_of(who.get(version.seq)) or None,
                }
                for version in found.versions
            ]
        }
    )


async def back(service: Service, request: Request) -> Json[AdoptedFile]:
    """Put a rule back to an earlier version, or take it out."""
    given = decoded(await request.body(BODY_BYTES_MAX), RuleReturn)
    file, why_not = await put_back(service, request, request.path_params["rule"], given.seq, given.reason)
    return Json({"file": file, "in_force": not why_not, "why_not": why_not or None})


def _shown(one: RuleLook, project: Project) -> RuleState:
    return {
        "id": one.id,
        "state": one.state,
        "file": None if one.standing is None else one.standing.file.name,
        "effect": None if one.rule is None else one.rule.effect,
        "in_force": one.is_in_force,
        "trial": None if one.standing is None else one.standing.trial or None,
        "draft": None if one.draft is None else one.draft.tag,
        "changed_at": None if one.changed_at_ms is None else time_text(one.changed_at_ms),
        "record": _record(one.record, project.definitions.settings.money_places),
    }


def _record(one: RuleRecord, places: int) -> RuleCounts:
    return {
        "hits": one.hits,
        "in_shadow": one.in_shadow,
        "fraud": one.frauds,
        "genuine": one.genuine,
        "unclear": one.unclear,
        "immature": one.immature,
        **one.precision,
        "money": show_decimal(one.amount_minor, places),
        "fraud_money": show_decimal(one.fraud_minor, places),
    }


def _hit(one: HitEvent, rule: str, service: Service) -> RuleHit:
    definitions = service.project.definitions
    places = definitions.settings.money_places
    return {
        "event": one.event,
        "id": one.id,
        "seq": one.seq,
        "time": time_text(one.time_ms),
        "money": None if one.amount_minor is None else show_decimal(one.amount_minor, places),
        "shadow": one.rules[rule],
        "verdict": one.verdict or None,
        "immature": service.rule_looks.records.is_immature(one, definitions),
    }


ROUTES: Final = (
    api("GET", "/records", Right.READ_DEFINITIONS, records)(
        "List every rule with its state and its statistics over the newest part of the log.",
        "The rules; removed ones come last.",
    ),
    api("GET", "/rules/{rule}/record", Right.READ_DEFINITIONS, record)(
        "Get one rule in words, with its statistics.", "The rule.", problems={404: ""}
    ),
    api("GET", "/rules/{rule}/hits", Right.READ_DECISIONS, hits)(
        "List the newest events that a rule hit, with their labels.",
        "A page of hits.",
        problems={400: "", 404: ""},
        query=PAGED,
    ),
    api("GET", "/rules/{rule}/history", Right.READ_DEFINITIONS, history)(
        "List the versions of a rule, with their authors.",
        "Newest first; the text is null if the rule was removed.",
        problems={404: ""},
    ),
    api("POST", "/rules/{rule}/back", Right.EDIT_RULES, back)(
        "Restore a rule's version from a sequence number of the log; 0 removes the rule.",
        "Its file, and whether it is active in the log yet.",
        RuleReturn,
        {
            404: "",
            409: "The rule is already removed.",
            422: "The version does not fit the current project, or the reason is missing.",
        },
    ),
)
