"""The table of rules, and the page of one rule: text, tests, hits, earlier versions and their restoration."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice, zip_longest
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.cases.case_queries import hidden
from shroff.errors import RefusalError, ShroffError
from shroff.json_types import JsonObject, TextDict
from shroff.language.values import day_number, show_decimal
from shroff.models.loader import longest_label_delay_ms
from shroff.operations.pagination import BadQueryError, cursor_of, next_of, parted
from shroff.people.access import Right
from shroff.project.policy import OUTCOMES
from shroff.rules.silences import list_of
from shroff.rules.texts import form_of
from shroff.services.lists.files import WAITS
from shroff.services.rules.files import subject_of
from shroff.services.rules.operations import RestoreRule
from shroff.services.rules.overview import ACTIVE, OFF, STATES, RuleLook, reason_of
from shroff.web.api.decisions import event_keys, summaries_of
from shroff.web.http.concurrency_limits import beside
from shroff.web.http.messages import Request, whole
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.bars import Bars, bars_of, with_open
from shroff.web.pages.decision import experiment_path, rule_path
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.rules.diffs import diff
from shroff.web.pages.words import lasting

if TYPE_CHECKING:
    from shroff.events.summary import EventSummary
    from shroff.people.access import Who
    from shroff.project.definitions import Definitions
    from shroff.services.drafts.draft_files import StoredDraft
    from shroff.web.service import Service

EVERY = "all"
HITS_SHOWN = 50
NEWEST_SHOWN = 8
VERSIONS_SHOWN = 30
_SHADOW = re.compile(r"(?m)^\s*shadow:\s*true\b")


async def show(service: Service, request: Request) -> Response:
    which = request.query_params.get("state", EVERY)
    if which not in {EVERY, *STATES}:
        raise BadQueryError(f"state: one of {', '.join((EVERY, *STATES))}")
    looks = await service.in_thread(service.project.rule_looks.list_all)
    counts = {state: sum(row.state == state for row in looks) for state in STATES}
    listed = [row for row in looks if which in {EVERY, row.state} and (row.state != OFF or which == OFF)]
    shown = sorted(listed, key=lambda row: (-(row.record.amount_minor or 0), row.id))
    return await page(
        service,
        request,
        "rules.html",
        rules=shown,
        least_precise=least_precise(shown),
        which=which,
        counts=counts,
        changed=await service.in_thread(_changed, service),
        **await common(service, has_all_hits=all(row.has_all_hits for row in looks)),
    )


def least_precise(looks: Iterable[RuleLook]) -> RuleLook | None:
    """Return the active rule with the lowest precision; None if fewer than two have one.

    Rules that allow or only note are left out: their hits on genuine events are no false alarms.
    """
    candidates = list[tuple[float, str, RuleLook]]()
    for look in looks:
        precision = look.record.precision["precision"]
        stops = look.rule is not None and look.rule.effect in OUTCOMES[1:]
        if look.state == ACTIVE and stops and precision is not None:
            candidates.append((precision, look.id, look))
    return min(candidates)[2] if len(candidates) > 1 else None


async def begin(service: Service, request: Request) -> Response:
    """Derive an unused id from the title of a new rule and lead to its editor. Nothing is saved."""
    title = unicodedata.normalize("NFKD", (await request.form())["rule"].lower()).encode("ascii", "ignore").decode()
    id_ = "_".join(re.findall("[a-z0-9]+", title if title[:1].isalpha() else f"rule {title}"))
    while any(rule.id == id_ for rule in service.project.definitions.evaluated):
        id_ += "_2"
    return see_other(f"{rule_path(id_)}/draft")


async def rule_page(service: Service, request: Request, mistake: str = "", status: int = 200) -> Response:
    id_, _, row = request.path_params["rule"].partition(".")
    if row:  # a row of a table of rules, whose page is that of the table
        return see_other(rule_path(id_))
    if await service.in_thread(service.project.rule_looks.is_experiment, id_):
        return see_other(experiment_path(id_))
    look = await service.in_thread(service.project.rule_looks.one, id_)
    looks = service.project.rule_looks
    tests = await service.checked(request.who, lambda: [test for rule in look.rules for test in looks.tests_of(rule)])
    earlier = await service.in_thread(_earlier, service, look)
    records = service.project.rule_looks.records
    definitions = service.project.definitions
    now_ms = service.project.context.now_ms()
    silences = [silence for silence in await service.in_thread(service.project.silences.all) if silence.rule == id_]
    return await page(
        service,
        request,
        "rule.html",
        status,
        look=look,
        tests=tests,
        earlier=earlier,
        days=_days(look, day_number(now_ms, records.zone)),
        record_of=lambda rule: records.record(rule, definitions),
        form=await service.in_thread(form_of, look.text),
        mistake=mistake,
        draft_waits=look.draft is not None and service.project.drafts.need_second_person and not look.draft.is_approved,
        may_approve=may_approve(request.who, look.draft),
        asked=await service.in_thread(service.project.agreements.asked, subject_of(id_)),
        silences=[silence for silence in silences if silence.holds(now_ms)],
        silence_list=f"/lists/{list_of(id_)}",
        **await _newest(service, look, None, NEWEST_SHOWN),
    )


def may_approve(who: Who, draft: StoredDraft | None) -> bool:
    if draft is None or not who.may(Right.APPROVE_RULES):
        return False
    return who.id not in {author.id for author in draft.note.authors}


async def hits(service: Service, request: Request) -> Response:
    id_ = request.path_params["rule"]
    before = cursor_of(request.query_params, int)
    if await service.in_thread(service.project.rule_looks.is_experiment, id_):
        return see_other(experiment_path(id_))
    look = await service.in_thread(service.project.rule_looks.one, id_)
    shown = await _newest(service, look, before, HITS_SHOWN)
    return await page(service, request, "hits.html", look=look, before=before, **shown)


async def _newest(service: Service, look: RuleLook, before: int | None, limit: int) -> JsonObject:
    records = service.project.rule_looks.records
    definitions = service.project.definitions
    hits_shown, last = parted(records.newest(look.id, before, limit + 1), limit)
    events = [(hit.event, hit.id) for hit in hits_shown]
    summaries = await service.in_thread(summaries_of, service.project, events)
    keys = await service.in_thread(event_keys, service.project, events)
    return {
        "hits": hits_shown,
        "summaries": summaries,
        "keys": keys,
        "key_columns": _key_columns(definitions, keys, summaries),
        "is_immature": lambda hit: records.is_immature(hit, definitions),
        "unseen": await service.in_thread(hidden, service.cases, [hit.name for hit in hits_shown]),
        "older": None if last is None else next_of(last.seq),
        **await common(service, has_all_hits=look.has_all_hits),
    }


def _key_columns(
    definitions: Definitions,
    keys: Mapping[tuple[str, str], TextDict],
    summaries: Mapping[tuple[str, str], EventSummary],
) -> list[str]:
    """Return the entities whose keys these events have, without the payee, which has its own column."""
    return [
        entity
        for entity in definitions.events.entities
        if any(
            entity in own and summaries[event].name_of(entity, own[entity]) != summaries[event].payee
            for event, own in keys.items()
            if event in summaries
        )
    ]


async def back(service: Service, request: Request) -> Response:
    form = await request.form()
    id_ = request.path_params["rule"]
    seq = whole(form["seq"])
    try:
        restored = RestoreRule(rule=id_, seq=-1 if seq is None else seq, reason=form["reason"])
        result = await service.run(request, restored)
    except RefusalError as error:
        return await rule_page(service, request, f"{error.title}: {error}", error.status)
    return see_other(f"{rule_path(id_)}{'#history' if result.why_not == WAITS else ''}")


async def common(service: Service, *, has_all_hits: bool) -> JsonObject:
    """Return values that these pages share: start and progress of the count of hits, and a formatter of money."""
    definitions = service.project.definitions
    settings = definitions.settings
    looks = service.project.rule_looks
    if not has_all_hits:
        count_hits(service)
    return {
        "since_ms": looks.records.since_ms,
        "is_counting": not has_all_hits,
        "delay": lasting(longest_label_delay_ms(definitions.models) / 1_000),
        "in_money": lambda minor: None if minor is None else show_decimal(minor, settings.money_places),
    }


def count_hits(service: Service) -> None:
    """Start to count the hits of rules in the background, unless that is running."""
    looks = service.project.rule_looks
    counting = looks.kept.counting
    if counting is None or counting.done():
        with suppress(Exception):  # reading the result keeps asyncio from logging a failure, which pages show
            _ = counting and counting.result()
        looks.kept.counting = beside(service.in_thread(partial(looks.follow, is_whole=True)))


def _days(look: RuleLook, today: int) -> Bars | None:
    record = look.record
    chart = bars_of(record.first_day, [hits for hits, _ in record.by_day], [frauds for _, frauds in record.by_day])
    return with_open(chart, today - record.first_day)


def _changed(service: Service) -> int:
    """Return the number of files that differ from the active version; 0 if they have mistakes."""
    with suppress(ShroffError):
        return len(service.project.versions.unapplied())
    return 0


def _earlier(service: Service, look: RuleLook) -> list[JsonObject]:
    rows_by_seq = service.project.rule_looks.who_changed(look)
    versions = []
    for version, before in islice(zip_longest(look.versions, look.versions[1:]), VERSIONS_SHOWN):
        row = rows_by_seq.get(version.seq)
        versions.append(
            {
                "seq": version.seq,
                "at_ms": version.at_ms,
                "by": "" if row is None else row.name,
                "reason": reason_of(row),
                "is_gone": not version.text,
                "is_now": version is look.versions[0],
                "is_shadow": _SHADOW.search(version.text) is not None,
                "changed": () if before is None else diff(before.text, version.text),
            }
        )
    return versions


ROUTES = (
    Route("GET", "/rules", Right.READ_DEFINITIONS, show, screen=Screen("Rules", "Policy", 1, ("/changes",))),
    Route("POST", "/rules", Right.EDIT_RULES, begin),
    Route("GET", "/rules/{rule}", Right.READ_DEFINITIONS, rule_page),
    Route("GET", "/rules/{rule}/hits", Right.READ_DECISIONS, hits),
    Route("POST", "/rules/{rule}/back", Right.EDIT_RULES, back),
)
