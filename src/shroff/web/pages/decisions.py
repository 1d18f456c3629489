"""The newest decisions, by outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import urlencode

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from starlette.responses import Response

from shroff.arrays import Ints
from shroff.cases.case_queries import hidden
from shroff.engine.stored import active_rules, rule_reasons
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.events.summary import EventSummary
from shroff.explain.entities import summary_in
from shroff.explain.hit_records import amount_reader
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.language.values import day_at, day_starts_ms, days_of, show_decimal, written_amount
from shroff.log.later_labels import places_between
from shroff.monitoring.day_figures import OutcomeTally
from shroff.operations.pagination import BadQueryError, cursor_of, next_of
from shroff.people.access import Right
from shroff.project.dependency_hash import reasons_of
from shroff.project.policy import OUTCOMES
from shroff.replay.notebook import moment_ms
from shroff.runtime.atomic_files import csv_line
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.results.operations import result_fields
from shroff.training.sets.labels import LABELS
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.decision import decision_path
from shroff.web.pages.renderer import csv_file, days_zone, page
from shroff.web.pages.words import score_of, sentence

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.project import Project
    from shroff.streams.log import DecisionRow, Log, Record
    from shroff.web.service import Service
    from shroff.web.work.reasons import FirstReason

SHOWN = 50
CSV_ROWS = 5_000  # of a download, and so many places are looked at for them:
CSV_LOOKED_AT = 500_000
HEAD = "time event id outcome score amount currency keys details rules reason".split()
TOTALS_LOOKED_AT = 200_000  # places of a day that are read for its totals: some 2 s
LOOKED_AT = 20_000  # places for one page, newest first
_BLOCK = 2_000
ChosenDecisions: TypeAlias = "tuple[Ints, list[tuple[int, int]]]"  # as `LabelReports.decisions_with`
NOT_APPROVED = "not-approved"
WHICH = (NOT_APPROVED, *OUTCOMES, "all")
FILTERS = (
    *"event rule day last zone min_score min_amount max_amount text".split(),
    *("label", "as_of", "field", "value", "arm"),
)


class DecisionLine(FrozenStruct):
    """One decision of the list."""

    row: DecisionRow
    record: Record
    document: JsonMapping
    path: str
    summary: EventSummary
    reason: str  # that of its first rule, empty without one
    why: FirstReason | None = None
    is_told: bool = True  # False if there was no time to look for `why`

    @property
    def at_ms(self) -> int:
        return self.record.time_ms

    @property
    def amount(self) -> Decimal | None:
        return Decimal(self.summary.amount) if self.summary.amount else None


class DecisionsWanted(FrozenStruct):
    """Which decisions are asked for; what is None or empty asks for nothing.

    Args:
        which: An outcome, NOT_APPROVED or all.
        event: An event type.
        starts_ms: When the first day on which the event happened begins, and when the last one ends.
        min_amount: Of the event's summary, as `max_amount`.
        text: Part of what the log has of the event, such as a card or a merchant; in small letters.
        label: Of `LABELS`, as known at a moment; by default at that of the newest record.
        field, value: A field of the event, and what it is; empty where it is missing.
        arm: B where the rule took effect, A where it was in shadow; any otherwise.
    """

    which: str
    rule: str = ""
    event: str = ""
    starts_ms: Sequence[int] | None = None
    min_score: float | None = None
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None
    text: str = ""
    label: str = ""
    as_of: str = ""
    field: str = ""
    value: str = ""
    arm: str = ""

    def of_decision(self, row: DecisionRow) -> bool:
        wants_all = self.which == "all" or (self.which == NOT_APPROVED and row.outcome != "approve")
        if not (wants_all or row.outcome == self.which) or (self.event and row.event != self.event):
            return False
        if not self.rule and self.min_score is None:
            return True
        decided = _DECIDED.decode(row.document)
        hits = {"A": decided.shadow_rules, "B": decided.rules}.get(self.arm, decided.rules + decided.shadow_rules)
        if self.rule and self.rule not in hits:
            return False
        return self.min_score is None or (decided.score is not None and decided.score >= self.min_score)

    def of_event(self, at_ms: int, amount: Decimal | None, body: bytes) -> bool:
        if self.starts_ms is not None and not self.starts_ms[0] <= at_ms < self.starts_ms[-1]:
            return False
        if self.text and self.text not in body.decode().casefold():
            return False
        if amount is None:
            return self.min_amount is self.max_amount is None
        is_above = self.min_amount is None or amount >= self.min_amount
        return is_above and (self.max_amount is None or amount <= self.max_amount)


class _RowDocument(msgspec.Struct, frozen=True):
    score: float | None = None
    rules: list[str] = []
    shadow_rules: list[str] = []


_DECIDED = msgspec.json.Decoder(_RowDocument)


class DecisionsPart(FrozenStruct):
    """A part of the list; all behind the place `looked_to` were looked at; 0 where that is the whole log."""

    lines: Sequence[DecisionLine]
    looked_to: int


class OutcomeTotals(NamedTuple):
    """Counts of decisions and their money as decimal text, by outcome; of a whole day, or of what a page lists."""

    rows: Sequence[tuple[str, int, str]]
    is_whole: bool


async def show(service: Service, request: Request) -> Response:
    wanted, given = _asked(service, request)
    before = cursor_of(request.query_params, int)
    part, totals = await service.in_thread(_part, service, wanted, before)
    definitions = service.project.definitions
    zone = given["zone"] or days_zone(service, request)
    today = day_at(service.project.context.now_ms(), zone)
    return await page(
        service,
        request,
        "decisions.html",
        part=part,
        totals=totals,
        which=wanted.which,
        all_which=WHICH,
        labels=LABELS,
        older=next_of(part.looked_to) if part.looked_to else None,
        before=before,
        given=given,
        zone=zone,
        near_days=[(says, today - timedelta(ago)) for ago, says in enumerate(("Today", "Yesterday"))],
        query=urlencode([(name, value) for name, value in given.items() if value]),
        csv_rows=CSV_ROWS,
        rules=[rule.id for rule in definitions.rules],
        types=definitions.events.decided,
    )


async def download(service: Service, request: Request) -> Response:
    """The newest of the same decisions as CSV, of which no cell is a formula."""
    wanted, _ = _asked(service, request)
    return await csv_file(service, "decisions", lambda: map(csv_line, [HEAD, *map(_cells, _for_csv(service, wanted))]))


def _for_csv(service: Service, wanted: DecisionsWanted) -> Sequence[DecisionLine]:
    project = service.project
    if not project.log.exists():
        return []
    chosen = _chosen(project, wanted)
    with project.log.reading() as log:
        return _read(service, log, wanted, log.last_seq(), chosen, CSV_ROWS, CSV_LOOKED_AT).lines


def _cells(line: DecisionLine) -> list[str]:
    document = line.document
    summary = line.summary
    score = "" if document["score"] is None else str(document["score"])
    details = "; ".join(part.says for part in summary.parts)
    named = [
        time_text(line.at_ms),
        line.row.event,
        line.row.id,
        line.row.outcome,
        score,
        summary.amount,
        summary.currency,
    ]
    return [*named, "; ".join(summary.names.values()), details, " ".join(active_rules(document)), line.reason]


def _asked(service: Service, request: Request) -> tuple[DecisionsWanted, TextDict]:
    given = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    given["zone"] = (given["zone"] or days_zone(service, request)) if given["day"] else ""
    if given["field"] not in ("", *(fields := result_fields(service.project.definitions))):
        raise BadQueryError(f"field: one of {', '.join(fields)}")
    which = request.query_params.get("outcome", NOT_APPROVED)
    places = service.project.definitions.settings.money_places
    return _wanted(which, given, places), given


def _wanted(which: str, given: TextMapping, places: int) -> DecisionsWanted:
    if which not in WHICH or given["label"] not in ("", *LABELS):
        raise BadQueryError(f"outcome: one of {', '.join(WHICH)}; label: one of {', '.join(LABELS)}")
    try:
        day = date.fromisoformat(given["day"]) if given["day"] else None
        last = date.fromisoformat(given["last"]) if given["last"] else day
        moment_ms(given["as_of"] or None, "as_of")
        starts_ms = day_starts_ms(day, days_of(day, last), given["zone"]) if day and last else None
        least = score_of(given["min_score"]) if given["min_score"] else None
        low, high = (
            Decimal(written_amount(given[name], places)) if given[name] else None
            for name in ("min_amount", "max_amount")
        )
    except UsageError as error:  # there is no such time zone
        raise BadQueryError(sentence(str(error))) from None
    except (ValueError, ArithmeticError):
        raise BadQueryError(
            "day: such as 2026-03-01; zone: such as Europe/Berlin; min_score: such as 0.05 or 1 in 20; "
            "min_amount, max_amount: such as 250.00"
        ) from None
    text = to_json(given["text"].casefold())[1:-1].decode()  # as it stands in an event
    about = [given[name] for name in FILTERS[-5:]]
    return DecisionsWanted(which, given["rule"], given["event"], starts_ms, least, low, high, text, *about)


def _chosen(project: Project, wanted: DecisionsWanted) -> ChosenDecisions | None:
    if not (wanted.label or wanted.field or wanted.as_of):
        return None
    outcomes = {NOT_APPROVED: OUTCOMES[1:], "all": OUTCOMES}.get(wanted.which, (wanted.which,))
    field_value = (wanted.field, wanted.value) if wanted.field else None
    return project.label_reports.decisions_with(
        outcomes, wanted.label, wanted.starts_ms, wanted.rule, field_value, wanted.as_of or None
    )


def _part(service: Service, wanted: DecisionsWanted, upto: int | None) -> tuple[DecisionsPart, OutcomeTotals]:
    project = service.project
    if not project.log.exists():
        return DecisionsPart([], 0), OutcomeTotals([], is_whole=False)
    chosen = _chosen(project, wanted)
    with project.log.reading() as log:
        part = _read(service, log, wanted, log.last_seq() if upto is None else upto, chosen)
        totals = _totals(project.definitions, log, wanted, part.lines, chosen)
    stopped = [line for line in part.lines if line.row.outcome != "approve"]
    whys = service.reasons.of((line.row.event, line.row.id) for line in stopped)

    def told(line: DecisionLine) -> DecisionLine:
        named = line.row.event, line.row.id
        return replace(line, why=whys.get(named), is_told=named in whys or line.row.outcome == "approve")

    return replace(part, lines=[told(line) for line in part.lines]), totals


def _totals(
    definitions: Definitions,
    log: Log,
    wanted: DecisionsWanted,
    lines: Sequence[DecisionLine],
    chosen: ChosenDecisions | None,
) -> OutcomeTotals:
    found = OutcomeTally()
    amount_of = amount_reader(definitions)
    others = wanted.event, wanted.text, wanted.arm, wanted.min_score, wanted.min_amount, wanted.max_amount
    is_whole = chosen is not None and not any(other not in ("", None) for other in others)
    if chosen is None:
        is_whole = wanted.starts_ms is not None and _add_day(log, definitions, wanted, amount_of, found)
    elif is_whole:
        for outcome, counted in zip(OUTCOMES, chosen[1], strict=True):
            found.counts[outcome], found.money[outcome] = counted
    if not is_whole:
        for line in lines:
            found.add(line.row.outcome, amount_of(line.record))
    rows = [
        (outcome, found.counts[outcome], show_decimal(found.money[outcome], definitions.settings.money_places))
        for outcome in OUTCOMES
        if found.counts[outcome]
    ]
    return OutcomeTotals(rows, is_whole)


def _add_day(
    log: Log,
    definitions: Definitions,
    wanted: DecisionsWanted,
    amount_of: Callable[[Record], int | None],
    found: OutcomeTally,
) -> bool:
    """Count the decisions of a day; return False, without counting, for too many."""
    assert wanted.starts_ms is not None
    places = definitions.settings.money_places
    after, upto = places_between(log, wanted.starts_ms[0], wanted.starts_ms[-1])
    if upto - after > TOTALS_LOOKED_AT:
        return False
    for start in range(after, upto, _BLOCK):
        decided = log.decisions_after(start, min(start + _BLOCK, upto))
        rows = [row for part in decided for row in part if wanted.of_decision(row)]
        records = log.records_at([row.seq for row in rows])
        for row in rows:
            record = records[row.seq]
            units = amount_of(record)
            amount = None if units is None else Decimal(units).scaleb(-places)
            if wanted.of_event(record.time_ms, amount, record.body):
                found.add(row.outcome, units)
    return True


def _read(
    service: Service,
    log: Log,
    wanted: DecisionsWanted,
    upto: int,
    chosen: ChosenDecisions | None,
    most: int = SHOWN,
    looked_at: int = LOOKED_AT,
) -> DecisionsPart:
    lines: list[DecisionLine] = []
    first = 0
    end = upto
    if wanted.starts_ms is not None:
        first, last = places_between(log, wanted.starts_ms[0], wanted.starts_ms[-1])
        end = min(upto, last)
    least = max(first, end - looked_at)
    if chosen is not None:
        least = int(chosen[0][chosen[0] <= upto][:-looked_at].max(initial=0))
    while end > least and len(lines) < most:
        start = max(least, end - _BLOCK)
        spans = [(start, end)]
        if chosen is not None:
            near = chosen[0][chosen[0] <= end][-SHOWN - 1 :].tolist()
            start = near[0] if len(near) > SHOWN else 0
            spans = [(seq - 1, seq) for seq in near if seq > start]
        rows = (row for span in spans for part in log.decisions_after(*span) for row in part)
        block = [row for row in rows if wanted.of_decision(row)][::-1]
        # Whether events have to be looked at, too
        limits = wanted.starts_ms, wanted.min_amount, wanted.max_amount
        if not (bool(wanted.text) or any(limit is not None for limit in limits)):
            block = block[: most - len(lines) + 1]
        # What a second look must not see
        unseen = hidden(service.cases, [f"{row.event}/{row.id}" for row in block]) if wanted.label else ()
        block = [row for row in block if f"{row.event}/{row.id}" not in unseen]
        lines += [
            line
            for line in _lines(service.project, log, block)
            if wanted.of_event(line.at_ms, line.amount, line.record.body)
        ]
        end = start
    if len(lines) > most:
        lines = lines[:most]
        end = lines[-1].row.seq - 1
    return DecisionsPart(lines, end if end > first else 0)


def _lines(project: Project, log: Log, rows: Sequence[DecisionRow]) -> list[DecisionLine]:
    records = log.records_at([row.seq for row in rows])
    told = reasons_of(project.definitions)
    found = list[DecisionLine]()
    for row in rows:
        record = records[row.seq]
        summary = summary_in(project.definitions, record)
        document = from_json(row.document)
        reasons = [told(reason["code"], str(reason["text"])) for reason in rule_reasons(document)[:1]]
        path = decision_path(row.event, row.id)
        found.append(DecisionLine(row, record, document, path, summary, "".join(reasons)))
    return found


ROUTES = (
    Route("GET", "/decisions", Right.READ_DECISIONS, show, screen=Screen("Decisions", "Explore", 1)),
    Route("GET", "/decisions/decisions.csv", Right.READ_DECISIONS, download),
)
