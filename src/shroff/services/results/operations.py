"""Operation that reports cost of fraud and rates of decisions, by period or by the values of a field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from shroff.errors import UsageError, nearest
from shroff.events.event import TimeText, time_text
from shroff.json_types import JsonObject
from shroff.language.values import DAY_MS, HOUR_MS, day_at, day_named, day_start_ms, days_of, show_decimal
from shroff.monitoring.day_figures import STOPPED
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, ProgressSteps, operation
from shroff.operations.numbers import name_of
from shroff.project.policy import OUTCOMES
from shroff.runtime.atomic_files import csv_line
from shroff.runtime.texts import Printed, percent, table
from shroff.runtime.values import replace
from shroff.services.labels.reports import LabelReports
from shroff.services.project import Project
from shroff.services.results.outcome_rates import (
    DeclineValue,
    FraudEstimate,
    FraudFigures,
    MissedFraudRate,
    OutcomeRate,
    ResultMoney,
    SchemeRatio,
)

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.results.figures import DecidedEvents, OutcomeTable

PERIODS = ("day", "week", "month")
RULE = "rule"
PROGRAMMES_SHOWN = 20
ROWS_MAX = 1_000
YEAR_DAYS = 365
KNOWN_SHARE = 0.99  # share of frauds known at the age of a mature row
NOT_KNOWN = "not known"
NOT_FRAUD = ("genuine", "unclear", "none")  # labels
OUTCOME_COUNTS = ("approved", "challenged", "reviewed", "declined")  # as OUTCOMES
NO_FIGURES = frozenset("from to value mature estimate change".split())  # fields of a row that are no figures
SHOWN = {  # columns of the printed table, and their figures
    "events": "events",
    "volume": "volume",
    "approved": "approved",
    "stopped": "stopped",
    "fraud.money": "fraud_amount",
    "fraud.basis_points": "basis_points",
    "caught": "caught",
    "missed": "missed",
    "false_declines": "false_declines",
    "money_saved": "money_saved",
}
Span: TypeAlias = tuple[date, date]
LabelsAsOf: TypeAlias = Annotated[
    str | None,
    Param("Labels known at this time; a day is its start, UTC.  [default: the newest record]", metavar="TIME"),
]


class ShowResults(OperationRequest["Results"], rename={"start": "from", "end": "to"}):
    """
    Args:
        start (DAY): The first day.  [default: that of the oldest event, at most a year back]
        end (DAY): The last day, included.  [default: that of the newest event]
        by (day|week|month|rule|FIELD): What each row is: a day, a week, a month, a rule, or a value of a field.
        zone (ZONE): Time zone of the days, as Europe/Berlin.  [default: the project's]
        format: How a command prints it.
    """

    start: Annotated[date | None, Param(flags="--from", read=partial(day_named, name="the first day"))] = None
    end: Annotated[date | None, Param(flags="--to", read=partial(day_named, name="the last day"))] = None
    by: str = "week"
    as_of: LabelsAsOf = None
    zone: str = ""
    format: Annotated[Literal["text", "csv"], Param(is_local=True)] = "text"


class ResultRow(msgspec.Struct, kw_only=True, rename={"start": "from", "end": "to"}):
    """A period, or in all of it a rule, shadow hits included, or a value of the field (null where it is missing).

    Caught frauds are those that were not approved, missed ones those that were; false declines are declined events
    labeled genuine, null if no declined event has a label; `unlabeled_declines` are those without a label.
    `money_saved` is the money of caught frauds.
    The fraud rate of reviews is the share of frauds among reviewed events with a label; null without one. It is no
    precision of rules, of which events without a label count as genuine once they are mature.
    The decline rate is that of all events. The false positive rate is the share of events without a fraud label that
    were reviewed or declined, by rules or the score; null by rule.
    A row is mature when its events are older than the label delay and 99 % of frauds are known at that age.
    The estimate is null if too few frauds are known.
    `change` is that of figures since the days before, as many as these: 0.1 is a tenth more. It is empty where the log
    has not all of those days or the last day is still to come, and leaves out figures that were 0 or unknown. A day,
    week or month that is over is compared with the row above it if that is as long.
    """

    start: date
    end: date
    value: str | UnsetType | None = UNSET
    events: int
    volume: str
    approved: int
    challenged: int
    reviewed: int
    declined: int
    fraud: FraudFigures
    caught: int
    missed: int
    false_declines: int
    unlabeled_declines: int
    money_saved: str
    review_fraud_rate: float | None
    decline_rate: OutcomeRate | None
    false_positive_rate: OutcomeRate | None
    money: ResultMoney
    mature: bool
    estimate: FraudEstimate | None
    change: dict[str, float] = {}

    @property
    def has_no_labeled_decline(self) -> bool:
        """Whether events were declined but none has a label, so that false declines are not known."""
        return 0 < self.declined == self.unlabeled_declines


NESTED = {"estimate": FraudEstimate, "decline_rate": OutcomeRate, "false_positive_rate": OutcomeRate}


class Results(OperationAnswer, Printed, dict=True):
    """What fraud cost and what decisions did, with the total of all events; those of several rules count once.

    `before` is the total of as many days directly before these, null where there is no change.
    `review_hours` is the time from claim to decision of cases that were decided in these days, each at most as long as
    a claim locks it. `declines` is null where nothing was explored, `missed_fraud` where no approval was sampled;
    `programmes` has the ratios of card schemes in the month of the last day, by month in each; the nearest to its limit
    is first. `oldest` is the day of the oldest event where that lies before the days of the
    answer and no first day was asked for, else null.
    """

    as_of: TimeText | None
    by: str
    zone: str
    currency: str
    rows: list[ResultRow]
    total: ResultRow | None
    before: ResultRow | None = None
    review_hours: float = 0.0
    declines: DeclineValue | None = None
    missed_fraud: MissedFraudRate | None = None
    programmes: list[SchemeRatio] = msgspec.field(default_factory=list)
    oldest: date | None = None
    format = ""

    def text(self) -> str:
        if self.format == "csv":
            return b"".join(csv_lines(self)).decode().rstrip("\n")
        from shroff.models.reports.pages import page

        if self.total is None:
            return "No event was decided in these days."
        rows = [_shown(row) for row in (*self.rows, *([self.total] if len(self.rows) > 1 else []))]
        if len(self.rows) > 1:
            rows[-1] = ("all", *rows[-1][1:])
        if self.before is not None:
            rows.append(("change", *(changed(self.total.change.get(name)) for name in SHOWN), ""))
        names = [name_of(number).lower() for number in (*SHOWN.values(), "estimate")]
        text = table(rows, (self.by, *names))
        if self.by not in PERIODS:
            rate_names = ["decline_rate"] if self.by == RULE else ["decline_rate", "false_positive_rate"]
            rates = [
                (row.value or "(missing)", *(getattr(row, name) or "unknown" for name in rate_names))
                for row in self.rows
            ]
            text += f"\n\n{table(rates, (self.by, *(name_of(name).lower() for name in rate_names)))}"
        return f"{text}\n\n{page(__package__, 'results.txt', {}, found=self, shown=PROGRAMMES_SHOWN).rstrip()}"

    def _charts(self) -> str:
        from shroff.models.reports.pages import ChartAxis, ChartColumn, chart_page, drawn

        if self.by not in PERIODS or not self.rows:
            return ""
        columns = [ChartColumn(f"{row.start}", float(row.fraud.money), not row.events) for row in self.rows]
        axis = ChartAxis(f"fraud, {self.currency}", 0, max(column.value for column in columns) or 1)
        return chart_page("Results", drawn("columns", f"Fraud by {self.by}", axis, columns))

    def hints(self) -> Sequence[str]:
        return ["shroff label --maturity", "shroff thresholds"]


@operation("results", right="read:decisions", http="GET /results", is_shared=True)
def show_results(
    project: Project, label_reports: LabelReports, progress: ProgressSteps, request: ShowResults
) -> Results:
    """Report what fraud cost and what decisions did: volume, outcomes, fraud caught and missed, false declines.

    An event counts on the day on which it happened, with the outcome of its decision and its active label. Labels
    come late: rows that are not mature have an interval for their fraud, from the share of frauds that are usually
    known after so many days, and the rate of frauds.

    Examples:
        shroff results
        shroff results --by month --from 2026-01-01 --to 2026-06-30
        shroff results --by channel --as-of 2026-06-30
    """
    import numpy as np

    from shroff.services.results.figures import OutcomeTable, final_fraud, period_codes, tallies, value_codes

    definitions = project.definitions
    zone, by, fields = request.zone or project.context.systems.time_zone, request.by, result_fields(definitions)
    choices = [*PERIODS, RULE, *fields]
    if by not in choices:
        hint = nearest(by, choices) or f"There is {', '.join(choices)}."
        raise UsageError(f"by: {by!r} is no period and no field of the decided events. {hint}")
    curve = label_reports.maturity(as_of=request.as_of)
    field = by if by in fields else ""
    schemes = project.context.systems.scheme_programmes
    further = schemes.fields if schemes else ()
    events = label_reports.decided_events(field, curve.as_of_ms, progress.counting("reading, events"), further)
    answer = Results(
        as_of=time_text(curve.as_of_ms), by=by, zone=zone, currency=definitions.settings.currency, rows=[], total=None
    )
    answer.format = request.format
    if not len(events.times_ms):
        return answer
    oldest_ms, newest_ms = int(events.times_ms.min()), int(events.times_ms.max())
    oldest, newest = day_at(oldest_ms, zone), day_at(newest_ms, zone)
    known_ms = max(curve.as_of_ms, 0 if request.as_of else project.context.now_ms())
    last = request.end or newest
    first = request.start or max(oldest, last - timedelta(YEAR_DAYS))
    answer.oldest = oldest if request.start is None and oldest < first else None
    spans = _spans(first, last, by)
    starts_ms = [*(day_start_ms(start, zone) for start, _ in spans), _end_ms(last, zone)]
    parts = events.by_rule() if by == RULE else events
    earlier = first - timedelta(days_of(first, last)), first - timedelta(1)
    whole_ms = [day_start_ms(earlier[0], zone), starts_ms[0], starts_ms[-1]]
    values: Sequence[str | UnsetType | None] = [UNSET] * len(spans)
    shares = curve.known_shares()
    has_earlier = oldest_ms <= whole_ms[0] and last <= day_at(known_ms, zone)
    mature_ms = curve.as_of_ms - mature_after_ms(definitions, shares)
    if by in PERIODS:
        count = len(spans)
        codes = period_codes(events, [whole_ms[0], *starts_ms])
        before, *tables = tallies(events, codes, 1 + count)
        whole = OutcomeTable.sum(tables)
        codes = np.maximum(codes - 1, -1)
        lengths = [end - start for start, end in spans]
        priors: list[OutcomeTable | None] = [None] * count
        for index in range(1, count):
            is_as_long = lengths[index] == lengths[index - 1]
            if is_as_long and oldest_ms <= starts_ms[index - 1] and starts_ms[index + 1] <= known_ms:
                priors[index] = tables[index - 1]
    else:
        everything = period_codes(events, whole_ms)
        before, whole = tallies(events, everything, 2)
        codes, values = value_codes(parts, everything if parts is events else period_codes(parts, whole_ms))
        count = len(values)
        if count > ROWS_MAX:
            raise UsageError(f"by: {by} has {count:,} values; results have at most {ROWS_MAX:,} rows.")
        spans = spans * count
        tables = tallies(parts, codes, 2 * count)
        priors = [*tables[count:]] if has_earlier else [None] * count
        codes = np.where(codes < count, codes, -1)
    finals = final_fraud(parts, codes, count, curve.as_of_ms, shares)
    if by != "week":  # the total is always computed from weeks
        weeks_ms = [*(day_start_ms(start, zone) for start, _ in _spans(first, last, "week")), starts_ms[-1]]
        of_weeks = period_codes(events, weeks_ms), len(weeks_ms) - 1
        finals[-1:] = final_fraud(events, *of_weeks, curve.as_of_ms, shares)[-1:]
    *answer.rows, answer.total = (
        result_row(definitions, span, value, tally, final, prior, is_mature=_end_ms(span[1], zone) <= mature_ms)
        for span, value, tally, final, prior in zip(
            [*spans, (first, last)],
            [*values, UNSET],
            [*tables[:count], whole],
            finals,
            [*priors, before if has_earlier else None],
            strict=True,
        )
    )
    if by == RULE:
        for row in answer.rows:
            _leave_out_false_positive_rate(row)
    if has_earlier:
        answer.before = result_row(definitions, earlier, UNSET, before, None, is_mature=starts_ms[0] <= mature_ms)
    answer.review_hours = round(project.cases.worked_ms(starts_ms[0], starts_ms[-1]) / HOUR_MS, 2)
    _add_samples(answer, events, (starts_ms[0], starts_ms[-1]), mature_ms, definitions.settings.money_places)
    if schemes is not None:
        from shroff.services.results.programmes import MonthRatios

        last_month = (request.end or day_at(curve.as_of_ms, zone)).replace(day=1)
        months = {start.replace(day=1) for start, _ in spans if by == "month"} | {last_month}
        places = definitions.settings.money_places
        for month in sorted(months, reverse=True):
            answer.programmes += MonthRatios(events, schemes, month, curve.as_of_ms, zone, places).nearest_first()
    return answer


def _add_samples(
    answer: Results, events: DecidedEvents, period_ms: tuple[int, int], mature_ms: int, places: int
) -> None:
    """Add the estimates from explored declines, which are read until `mature_ms`, and from sampled approvals."""
    from shroff.services.results.figures import explored_declines, missed_fraud

    start_ms, end_ms = period_ms
    explored = explored_declines(events, start_ms, min(mature_ms, end_ms))
    if explored is not None:
        share, units = explored
        answer.declines = DeclineValue(share.drawn, share.share, share.low, share.high, show_decimal(units, places))
    sampled, uncovered, share, units = missed_fraud(events, start_ms, end_ms)
    if sampled:
        counts = sampled, share.drawn, uncovered, share.frauds
        answer.missed_fraud = MissedFraudRate(*counts, share.share, share.low, share.high, show_decimal(units, places))


def result_fields(definitions: Definitions) -> list[str]:
    types, decided = definitions.events.types, definitions.events.decided
    return sorted({field for name in decided for field in types[name].countable})


def _spans(first: date, last: date, by: str) -> list[Span]:
    """Split a range of days, both ends included, into periods; weeks begin on Monday."""
    count = days_of(first, last)
    if by not in PERIODS:
        return [(first, last)]
    of_day = {"day": 1, "week": 7}.get(by)
    days = (first + timedelta(number) for number in range(count))
    periods = groupby(days, lambda day: (day.toordinal() - 1) // of_day if of_day else day.replace(day=1))
    spans = [[*members] for _, members in periods]
    return [(members[0], members[-1]) for members in spans]


def _end_ms(day: date, zone: str) -> int:
    return day_start_ms(day + timedelta(1), zone)


def mature_after_ms(definitions: Definitions, shares: Sequence[tuple[float, float]]) -> int:
    """Return the age of mature events: the label delay, and at least 99 % of frauds known."""
    from shroff.models.loader import longest_label_delay_ms

    days_known = next((days for days, (share, _) in enumerate(shares) if share >= KNOWN_SHARE * shares[-1][0]), 0)
    return max(longest_label_delay_ms(definitions.models), days_known * DAY_MS)


def result_row(
    definitions: Definitions,
    span: Span,
    value: str | UnsetType | None,
    tally: OutcomeTable,
    final: tuple[int, int] | None,
    prior: OutcomeTable | None = None,
    *,
    is_mature: bool,
) -> ResultRow:
    def money(units: int) -> str:
        return show_decimal(units, definitions.settings.money_places)

    events, volume = tally.of()
    fraud, fraud_money = tally.of(labels=["fraud"])
    outcomes = [tally.of([outcome]) for outcome in OUTCOMES]
    reviewed = tally.of(["review"], ["fraud"])[0], tally.of(["review"], ["fraud", "genuine"])[0]
    caught, missed = tally.of(STOPPED, ["fraud"]), tally.of(["approve"], ["fraud"])
    false_declines = tally.of(["decline"], ["genuine"])
    unlabeled_declines, _ = tally.of(["decline"], ["none"])
    if is_mature:
        final = fraud_money, final[1] if final else fraud_money
    counts: JsonObject = dict(zip(OUTCOME_COUNTS, (count for count, _ in outcomes), strict=True))
    row = ResultRow(
        start=span[0],
        end=span[1],
        value=value,
        events=events,
        volume=money(volume),
        **counts,
        fraud=FraudFigures(fraud, money(fraud_money), round(fraud_money / volume * 10_000, 2) if volume else None),
        caught=caught[0],
        missed=missed[0],
        false_declines=false_declines[0],
        unlabeled_declines=unlabeled_declines,
        money_saved=money(caught[1]),
        review_fraud_rate=reviewed[0] / reviewed[1] if reviewed[1] else None,
        decline_rate=OutcomeRate.of(outcomes[3][0], events),
        false_positive_rate=_false_positive_rate(tally),
        money=ResultMoney(
            **{name: money(units) for name, (_, units) in zip(OUTCOME_COUNTS, outcomes, strict=True)},
            caught=money(caught[1]),
            missed=money(missed[1]),
            false_declines=money(false_declines[1]),
        ),
        mature=is_mature,
        estimate=None if final is None else FraudEstimate(*map(money, final)),
    )
    if prior is not None:
        was, now = (_figures(of) for of in (result_row(definitions, span, value, prior, None, is_mature=True), row))
        names = (name for name in was if None not in (was[name], now[name]))
        pairs = ((name, Decimal(str(was[name])), Decimal(str(now[name]))) for name in names)
        row.change = {name: float(after / before - 1) for name, before, after in pairs if before}
    return row


def _false_positive_rate(tally: OutcomeTable) -> OutcomeRate | None:
    reviewed_or_declined, _ = tally.of(["review", "decline"], NOT_FRAUD)
    events, _ = tally.of(labels=NOT_FRAUD)
    return OutcomeRate.of(reviewed_or_declined, events)


def _leave_out_false_positive_rate(row: ResultRow) -> None:
    """Clear the rate of a rule: as all its hits are held back, it would be 100 %."""
    row.false_positive_rate = None
    row.change = {name: share for name, share in row.change.items() if "false_positive_rate" not in name}


def _cells(row: ResultRow) -> JsonObject:
    cells: JsonObject = {}
    for name, value in msgspec.to_builtins(row).items():
        if value is None and name in NESTED:
            value = dict.fromkeys(NESTED[name].__struct_fields__)
        inner = value if isinstance(value, dict) else {"": value}
        cells |= {f"{name}.{part}".rstrip("."): cell for part, cell in inner.items()}
    return cells


def _figures(row: ResultRow) -> JsonObject:
    return {name: cell for name, cell in _cells(row).items() if name.partition(".")[0] not in NO_FIGURES}


def changed(share: float | None) -> str:
    return "" if share is None else percent(share, "+.1")


def _shown(row: ResultRow) -> tuple[str, ...]:
    name = "(missing)" if row.value is None else row.value
    if isinstance(name, UnsetType):
        name = str(row.start)
    ends = ""
    if row.estimate is not None:
        ends = " to ".join(f"{Decimal(end):,f}" for end in dict.fromkeys((row.estimate.low, row.estimate.high)))
    cells = {**_cells(row), "stopped": row.events - row.approved}
    points = row.fraud.basis_points
    cells["fraud.basis_points"] = None if points is None else f"{points:.2f}"
    if row.has_no_labeled_decline:
        cells |= {"false_declines": None, "money.false_declines": None}
    texts = (NOT_KNOWN if cells[figure] is None else f"{Decimal(cells[figure]):,}" for figure in SHOWN)
    return (f"{name}{'' if row.mature else ' *'}", *texts, ends)


def csv_lines(results: Results) -> Iterator[bytes]:
    for number, row in enumerate(results.rows):
        cells = _cells(replace(row, change={name: row.change.get(name) for name in _figures(row)}))
        if not number:
            yield csv_line(cells)
        yield csv_line(cells.values())
