"""Comparison of a draft with the project without it: `shroff backtest` and `Project.backtest`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from shroff.arrays import Bools, count_true
from shroff.backtest.document import BacktestReport, ReportBalance, ReportCosts, ReportRecorded, ReportRow
from shroff.backtest.explored import explored_in
from shroff.backtest.outcomes import DraftVerdicts, JudgedEvents, JudgedRange, judge
from shroff.backtest.plan import DraftComparison, changed_parts
from shroff.backtest.report import UNKNOWABLE
from shroff.backtest.tally import SEED, Money, balance, cells, changed_rows, gone_rules, rules_at, rules_of
from shroff.backtest.training_overlap import learnt_of, learnt_remarks, learnt_rows, unscored
from shroff.errors import UsageError
from shroff.events.event import time_text, time_text_or_none
from shroff.json_types import JsonObject
from shroff.language.types import TIME, money
from shroff.language.values import show_decimal
from shroff.log.columns.tables import arrow_type
from shroff.log.later_labels import place_before
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES, Policy
from shroff.runtime.atomic_files import csv_line, write_lines, write_tables
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.progress import Progress
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, LogReader, Record
from shroff.training.sets.labels import LABELS, NO_LABEL

__all__ = ["DraftComparison", "JudgedPeriod", "backtest", "changed", "first_place", "write_changed"]
ROWS = 20  # changed rows in the report
PIECE_ROWS = 1 << 16  # changed rows written at once


class JudgedPeriod(FrozenStruct):
    """The period of a backtest.

    Args:
        as_of_ms: Use the labels known at this time; None if the log has no events.
        start_ms: The draft is active from the first event at or after this time; by default from the beginning.
        end_ms: The backtest ends before the first event at or after this time.
        zone: Time zone of its days and weeks.
    """

    as_of_ms: int | None
    start_ms: int | None = None
    end_ms: int | None = None
    zone: str = "UTC"


def backtest(
    log: Log,
    draft: Definitions,
    names: Iterable[str] = (),
    *,
    period: JudgedPeriod,
    how: DraftComparison = DraftComparison(),  # noqa: B008 - it never changes
    reading: Progress | None = None,
    computing: Progress | None = None,
) -> BacktestReport:
    """Compare a draft with the project without it: both decide the log again, with lists and models as of each event.

    Args:
        how: By default, compare with the project active at the end of the log.

    Raises: UsageError if the log has no events, or none of a decided type in the period, or the period ends before it
    starts.
    """
    began = time.monotonic()
    start_ms = period.start_ms
    end_ms = period.end_ms
    as_of_ms = period.as_of_ms
    if as_of_ms is None:
        raise UsageError("the log has no events to judge. Bring some in with 'shroff ingest FILE --as EVENT'.")
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise UsageError(f"--to {time_text(end_ms)} is not after --from {time_text(start_ms)}.")
    late_ms = lateness_of(log, draft)
    last = log.last_seq()
    after = 0 if start_ms is None else first_place(log, start_ms, late_ms, last) - 1
    upto = last if end_ms is None else first_place(log, end_ms, late_ms, last) - 1
    span = JudgedRange(after, upto, as_of_ms)
    draft.require_models()
    with calm_collector():
        verdicts = judge(log, draft, span, reading, computing, how=how)
        judged = list(verdicts.types.values())
        if not any(map(len, judged)):
            raise UsageError(_nothing_judged(log, start_ms, end_ms))
        learnt = learnt_rows(verdicts.versions if how.judges_models else (), judged)
        report = _report(log, draft, verdicts, learnt, period.zone, judges_models=how.judges_models)
        report.draft = list(names)
        report.as_of = time_text(as_of_ms)
        report.start = time_text_or_none(start_ms)
        report.end = time_text_or_none(end_ms)
        report.changed_rows = changed(report, ROWS)
        report.seconds = round(time.monotonic() - began, 3)
        return report


def _report(
    log: Log, draft: Definitions, verdicts: DraftVerdicts, learnt: Sequence[Bools], zone: str, *, judges_models: bool
) -> BacktestReport:
    """Compute the figures of a report; its name, period and changed rows stay empty."""
    settings = draft.settings
    judged = list(verdicts.types.values())
    money: Money = partial(show_decimal, places=settings.money_places)
    policies = [draft.policy(judged_events.event) for judged_events in judged]
    matrix = [cell for judged_events in judged for cell in cells(judged_events, money)]
    weigh = partial(balance, judged, policies, money, zone)
    compared = weigh([~rows for rows in learnt])
    learnt_from = learnt_of(verdicts.versions, judged, learnt, weigh(learnt)) if judges_models else None
    undecided = sum(count_true(events.recorded < 0) for events in judged)
    differing = sum(count_true(events.recorded != events.old) for events in judged) - undecided
    changes = sum(cell.count for cell in matrix if cell.old != cell.new)
    events = sum(map(len, judged))
    remarks = [] if learnt_from is None else learnt_remarks(learnt_from, compared.mature)
    count = unscored(verdicts.versions, judged, draft) if judges_models else 0
    if count:
        remarks.append(
            f"{count:,} of {many(events, 'event has', 'events have')} no score: no model was active at their place in "
            "the log. Name one with --model ID to score them."
        )
    has_said = learnt_from is not None and learnt_from.events and not compared.mature
    if changes and compared.net is None and not has_said:
        remarks.append(_not_known(compared, has_label=any(cell.label != LABELS[NO_LABEL] for cell in matrix)))
    report = BacktestReport(
        draft=[],
        events=events,
        seconds=0,
        start=None,
        end=None,
        as_of="",
        money=settings.currency,
        outcomes=matrix,
        immature=sum(cell.count for cell in matrix if cell.immature),
        recorded=ReportRecorded(differing, changed_parts(verdicts.versions) if differing else []),
        balance=compared,
        costs=_costs(policies, money),
        learnt_from=learnt_from,
        remarks=remarks,
        rules=[
            rule
            for judged_events in judged
            for rule in rules_of(
                judged_events, [rule for rule in draft.rules if rule.on == judged_events.event], verdicts.kept, money
            )
        ],
        rules_gone={
            rule: count for judged_events in judged for rule, count in gone_rules(judged_events, draft.rules).items()
        },
        changed=changes,
        changed_rows=[],
        exploration=explored_in(log, judged, money),
        undecided=undecided,
        unknowable=UNKNOWABLE,
    )
    vars(report)["verdicts"] = verdicts
    return report


def _costs(policies: Sequence[Policy], money: Money) -> ReportCosts:
    def same(costs: set[int | None]) -> str | None:
        cost = costs.pop() if len(costs) == 1 else None
        return None if cost is None else money(cost)

    return ReportCosts(
        same({policy.review_minor for policy in policies}),
        same({policy.false_decline_minor for policy in policies}),
        any(policy.review_minor or policy.false_decline_minor for policy in policies),
    )


def changed(report: BacktestReport, count: int) -> list[ReportRow]:
    """Return a random sample (seeded) of the events with a changed outcome, by type in log order."""
    types = [(judged, changed_rows(judged)) for judged in report.verdicts.types.values()]
    total = sum(len(rows) for _, rows in types)
    first = 0
    sample = list[ReportRow]()
    drawn_indexes = np.random.default_rng(SEED).permutation(total)[:count]
    for judged, rows in types:
        type_indexes = drawn_indexes[(drawn_indexes >= first) & (drawn_indexes < first + len(rows))] - first
        sample += _rows(report, judged, rows[np.sort(type_indexes)])
        first += len(rows)
    return sample


def _all_changed(report: BacktestReport) -> Iterator[list[ReportRow]]:
    for judged in report.verdicts.types.values():
        rows = changed_rows(judged)
        for first in range(0, len(rows), PIECE_ROWS):
            yield _rows(report, judged, rows[first : first + PIECE_ROWS])


def _rows(report: BacktestReport, judged: JudgedEvents, rows: Any) -> list[ReportRow]:
    decimals = report.verdicts.versions[-1].draft.settings.money_places
    code_columns = (OUTCOMES, judged.old), (OUTCOMES, judged.new), (LABELS, judged.labels)
    columns = zip(
        judged.ids.take(pa.array(rows, pa.int64())).to_pylist(),
        judged.seqs[rows].tolist(),
        map(time_text, judged.times_ms[rows].tolist()),
        *(map(names.__getitem__, codes[rows].tolist()) for names, codes in code_columns),
        judged.is_immature[rows].tolist(),
        (show_decimal(amount, decimals) for amount in judged.amounts_minor[rows].tolist()),
        rules_at(judged.old_hits, rows),
        rules_at(judged.hits, rows),
        strict=True,
    )
    return [ReportRow(judged.event, *values) for values in columns]


def _not_known(balance: ReportBalance, *, has_label: bool) -> str:
    unknown = "so it is not known which are frauds, nor what the draft is worth."
    if not balance.mature:
        also = "" if has_label else ", and NOT ONE HAS A LABEL"
        return f"Of {many(balance.events, 'event')} each is younger than the label delay{also}, {unknown}"
    old = many(balance.mature, "event that is", "events that are")
    remedy = "Bring labels in ('shroff label', or --labels beside FILEs)."
    return f"Of {old} old enough NOT ONE HAS A LABEL, {unknown} {remedy}"


def _nothing_judged(log: LogReader, start_ms: int | None, end_ms: int | None) -> str:
    start = "its beginning" if start_ms is None else time_text(start_ms)
    end = "its end" if end_ms is None else time_text(end_ms)
    text = f"no event of the log that is decided lies from {start} to {end}."
    first = next(_events(log, 0), None)
    last_ms = log.watermark_ms()
    if first is None or last_ms is None:
        return text
    return f"{text} Its events are of {time_text(first.time_ms)} to {time_text(last_ms)}."


def _events(log: LogReader, *span: int) -> Iterator[Record]:
    return (record for records in log.read(*span) for record in records if record.kind == "event")


def first_place(log: LogReader, moment_ms: int, lateness_ms: int, last: int) -> int:
    """Return the sequence number of the first event at or after a time; the one after `last` if there is none.

    All events before it are earlier than the time. Later events may be earlier than the time by at most the lateness.
    Cost: about 20 queries, and reading the lateness before the time. Records moved to the lake are read only if the
    store begins after the time.
    """
    events = _events(log, place_before(log, moment_ms, lateness_ms), last)
    return next((event.seq for event in events if event.time_ms >= moment_ms), last + 1)


def _schema(money_places: int) -> pa.Schema:
    return pa.schema(
        {
            "event": pa.string(),
            "id": pa.string(),
            "seq": pa.int64(),
            "time": arrow_type(TIME, money_places),
            "old": pa.string(),
            "new": pa.string(),
            "label": pa.string(),
            "immature": pa.bool_(),
            "money": arrow_type(money(money_places), money_places),
            "old_rules": pa.list_(pa.string()),
            "rules": pa.list_(pa.string()),
        }
    )


def write_changed(report: BacktestReport, out: Path) -> int:
    """Write all events with a changed outcome as CSV or Parquet, by the file's extension; return their number.

    Raises: UsageError for another extension.
    """
    if out.suffix.lower() not in {".csv", ".parquet"}:
        raise UsageError(f"{out} should end with .csv or .parquet.")
    schema = _schema(report.verdicts.versions[-1].draft.settings.money_places)
    pieces = _all_changed(report)
    if out.suffix.lower() == ".parquet":
        return write_tables(out, schema, (pa.Table.from_pylist(list(map(_typed, rows)), schema) for rows in pieces))
    count = 0

    def lines() -> Iterator[list[bytes]]:
        nonlocal count
        yield [",".join(schema.names).encode() + b"\n"]
        for rows in pieces:
            count += len(rows)
            yield [csv_line(msgspec.structs.astuple(row)) for row in rows]

    write_lines(out, lines())
    return count


def _typed(row: ReportRow) -> JsonObject:
    return {**msgspec.structs.asdict(row), "time": datetime.fromisoformat(row.time), "money": Decimal(row.money)}
