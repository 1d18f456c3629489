"""The list of decisions, newest first, with filters, totals and a CSV download."""

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
CSV_ROWS = 5_000  # rows of a download
CSV_LOOKED_AT = 500_000  # sequence numbers that are read for a download
HEAD = "time event id outcome score amount currency keys details rules reason".split()
TOTALS_LOOKED_AT = 200_000  # sequence numbers of a day that are read for its totals, in some 2 s
LOOKED_AT = 20_000  # sequence numbers that are read for one page
_BLOCK = 2_000
ChosenDecisions: TypeAlias = "tuple[Ints, list[tuple[int, int]]]"  # result of `LabelReports.decisions_with`
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
    reason: str  # of the first rule; empty if no rule hit
    why: FirstReason | None = None
    is_told: bool = True  # False if `why` was not computed in time

    @property
    def at_ms(self) -> int:
        return self.record.time_ms

    @property
    def amount(self) -> Decimal | None:
        return Decimal(self.summary.amount) if self.summary.amount else None


class DecisionsWanted(FrozenStruct):
    """Filters of the list; None or an empty text does not filter.

    Args:
        which: An outcome, NOT_APPROVED or all.
        event: An event type.
        starts_ms: Times of the event, from the first to before the last of these, in ms.
        min_amount: Lowest amount of the event's summary; `max_amount` the highest.
        text: Part of the stored event, such as a card or a merchant, in lower case.
        label: One of `LABELS`, as known at `as_of`, by default at the newest record.
        field, value: A field of the event and its value, empty for a missing one.
        arm: B for decisions in which `rule` took effect, A for those in which it was in shadow.
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
        is_any_outcome = self.which == "all" or (self.which == NOT_APPROVED and row.outcome != "approve")
        if not (is_any_outcome or row.outcome == self.which) or (self.event and row.event != self.event):
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
    """A part of the list. Sequence numbers above `looked_to` were read; 0 if none is left."""

    lines: Sequence[DecisionLine]
    looked_to: int


class OutcomeTotals(NamedTuple):
    """Outcome, count and amount as decimal text; of all matching decisions if `is_whole`, else of the page's lines."""

    rows: Sequence[tuple[str, int, str]]
    is_whole: bool


async def show(service: Service, request: Request) -> Response:
    wanted, given = _filters(service, request)
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
    """Send the newest matching decisions as CSV. No cell is a formula."""
    wanted, _ = _filters(service, request)
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
    cells = [
        time_text(line.at_ms),
        line.row.event,
        line.row.id,
        line.row.outcome,
        score,
        summary.amount,
        summary.currency,
    ]
    return [*cells, "; ".join(summary.names.values()), details, " ".join(active_rules(document)), line.reason]


def _filters(service: Service, request: Request) -> tuple[DecisionsWanted, TextDict]:
    texts = {name: request.query_params.get(name, "").strip() for name in FILTERS}
    texts["zone"] = (texts["zone"] or days_zone(service, request)) if texts["day"] else ""
    fields = result_fields(service.project.definitions)
    if texts["field"] not in ("", *fields):
        raise BadQueryError(f"field: one of {', '.join(fields)}")
    which = request.query_params.get("outcome", NOT_APPROVED)
    decimals = service.project.definitions.settings.money_places
    return _parsed_filters(which, texts, decimals), texts


def _parsed_filters(which: str, texts: TextMapping, decimals: int) -> DecisionsWanted:
    if which not in WHICH or texts["label"] not in ("", *LABELS):
        raise BadQueryError(f"outcome: one of {', '.join(WHICH)}; label: one of {', '.join(LABELS)}")
    try:
        day = date.fromisoformat(texts["day"]) if texts["day"] else None
        last = date.fromisoformat(texts["last"]) if texts["last"] else day
        moment_ms(texts["as_of"] or None, "as_of")
        starts_ms = day_starts_ms(day, days_of(day, last), texts["zone"]) if day and last else None
        min_score = score_of(texts["min_score"]) if texts["min_score"] else None
        low, high = (
            Decimal(written_amount(texts[name], decimals)) if texts[name] else None
            for name in ("min_amount", "max_amount")
        )
    except UsageError as error:  # an unknown time zone
        raise BadQueryError(sentence(str(error))) from None
    except (ValueError, ArithmeticError):
        raise BadQueryError(
            "day: such as 2026-03-01; zone: such as Europe/Berlin; min_score: such as 0.05 or 1 in 20; "
            "min_amount, max_amount: such as 250.00"
        ) from None
    text = to_json(texts["text"].casefold())[1:-1].decode()  # escaped as in the JSON of an event
    others = [texts[name] for name in FILTERS[-5:]]
    return DecisionsWanted(which, texts["rule"], texts["event"], starts_ms, min_score, low, high, text, *others)


def _chosen(project: Project, wanted: DecisionsWanted) -> ChosenDecisions | None:
    if not (wanted.label or wanted.field or wanted.as_of):
        return None
    outcomes = {NOT_APPROVED: OUTCOMES[1:], "all": OUTCOMES}.get(wanted.which, (wanted.which,))
    field_value = (wanted.field, wanted.value) if wanted.field else None
    return project.label_reports.decisions_with(
        outcomes, wanted.label, wanted.starts_ms, wanted.rule, field_value, wanted.as_of or None
    )


def _part(service: Service, wanted: DecisionsWanted, end_seq: int | None) -> tuple[DecisionsPart, OutcomeTotals]:
    project = service.project
    if not project.log.exists():
        return DecisionsPart([], 0), OutcomeTotals([], is_whole=False)
    chosen = _chosen(project, wanted)
    with project.log.reading() as log:
        part = _read(service, log, wanted, log.last_seq() if end_seq is None else end_seq, chosen)
        totals = _totals(project.definitions, log, wanted, part.lines, chosen)
    stopped = [line for line in part.lines if line.row.outcome != "approve"]
    whys = service.reasons.of((line.row.event, line.row.id) for line in stopped)

    def with_reason(line: DecisionLine) -> DecisionLine:
        name = line.row.event, line.row.id
        return replace(line, why=whys.get(name), is_told=name in whys or line.row.outcome == "approve")

    return replace(part, lines=[with_reason(line) for line in part.lines]), totals


def _totals(
    definitions: Definitions,
    log: Log,
    wanted: DecisionsWanted,
    lines: Sequence[DecisionLine],
    chosen: ChosenDecisions | None,
) -> OutcomeTotals:
    tally = OutcomeTally()
    amount_of = amount_reader(definitions)
    others = wanted.event, wanted.text, wanted.arm, wanted.min_score, wanted.min_amount, wanted.max_amount
    is_whole = chosen is not None and not any(other not in ("", None) for other in others)
    if chosen is None:
        is_whole = wanted.starts_ms is not None and _add_day(log, definitions, wanted, amount_of, tally)
    elif is_whole:
        for outcome, counted in zip(OUTCOMES, chosen[1], strict=True):
            tally.counts[outcome], tally.money[outcome] = counted
    if not is_whole:
        for line in lines:
            tally.add(line.row.outcome, amount_of(line.record))
    rows = [
        (outcome, tally.counts[outcome], show_decimal(tally.money[outcome], definitions.settings.money_places))
        for outcome in OUTCOMES
        if tally.counts[outcome]
    ]
    return OutcomeTotals(rows, is_whole)


def _add_day(
    log: Log,
    definitions: Definitions,
    wanted: DecisionsWanted,
    amount_of: Callable[[Record], int | None],
    tally: OutcomeTally,
) -> bool:
    """Add the matching decisions of the days to `tally`; return False, without adding any, if there are too many."""
    assert wanted.starts_ms is not None
    decimals = definitions.settings.money_places
    after_seq, end_seq = places_between(log, wanted.starts_ms[0], wanted.starts_ms[-1])
    if end_seq - after_seq > TOTALS_LOOKED_AT:
        return False
    for start in range(after_seq, end_seq, _BLOCK):
        decided = log.decisions.after(start, min(start + _BLOCK, end_seq))
        rows = [row for part in decided for row in part if wanted.of_decision(row)]
        records = log.records_at([row.seq for row in rows])
        for row in rows:
            record = records[row.seq]
            units = amount_of(record)
            amount = None if units is None else Decimal(units).scaleb(-decimals)
            if wanted.of_event(record.time_ms, amount, record.body):
                tally.add(row.outcome, units)
    return True


def _read(
    service: Service,
    log: Log,
    wanted: DecisionsWanted,
    end_seq: int,
    chosen: ChosenDecisions | None,
    lines_max: int = SHOWN,
    seqs_max: int = LOOKED_AT,
) -> DecisionsPart:
    lines: list[DecisionLine] = []
    first = 0
    end = end_seq
    if wanted.starts_ms is not None:
        first, last = places_between(log, wanted.starts_ms[0], wanted.starts_ms[-1])
        end = min(end_seq, last)
    first_seq = max(first, end - seqs_max)
    if chosen is not None:
        first_seq = int(chosen[0][chosen[0] <= end_seq][:-seqs_max].max(initial=0))
    while end > first_seq and len(lines) < lines_max:
        start = max(first_seq, end - _BLOCK)
        spans = [(start, end)]
        if chosen is not None:
            newest = chosen[0][chosen[0] <= end][-SHOWN - 1 :].tolist()
            start = newest[0] if len(newest) > SHOWN else 0
            spans = [(seq - 1, seq) for seq in newest if seq > start]
        rows = (row for span in spans for part in log.decisions.after(*span) for row in part)
        block = [row for row in rows if wanted.of_decision(row)][::-1]
        limits = wanted.starts_ms, wanted.min_amount, wanted.max_amount
        filters_events = bool(wanted.text) or any(limit is not None for limit in limits)
        if not filters_events:
            block = block[: lines_max - len(lines) + 1]
        # With a filter by label, the list would tell a second reviewer the first verdict
        unseen = hidden(service.cases, [f"{row.event}/{row.id}" for row in block]) if wanted.label else ()
        block = [row for row in block if f"{row.event}/{row.id}" not in unseen]
        lines += [
            line
            for line in _lines(service.project, log, block)
            if wanted.of_event(line.at_ms, line.amount, line.record.body)
        ]
        end = start
    if len(lines) > lines_max:
        lines = lines[:lines_max]
        end = lines[-1].row.seq - 1
    return DecisionsPart(lines, end if end > first else 0)


def _lines(project: Project, log: Log, rows: Sequence[DecisionRow]) -> list[DecisionLine]:
    records = log.records_at([row.seq for row in rows])
    format_reason = reasons_of(project.definitions)
    lines = list[DecisionLine]()
    for row in rows:
        record = records[row.seq]
        summary = summary_in(project.definitions, record)
        document = from_json(row.document)
        reasons = [format_reason(reason["code"], str(reason["text"])) for reason in rule_reasons(document)[:1]]
        path = decision_path(row.event, row.id)
        lines.append(DecisionLine(row, record, document, path, summary, "".join(reasons)))
    return lines


ROUTES = (
    Route("GET", "/decisions", Right.READ_DECISIONS, show, screen=Screen("Decisions", "Explore", 1)),
    Route("GET", "/decisions/decisions.csv", Right.READ_DECISIONS, download),
)
