"""A draft compared with the project without it: the results of `shroff backtest` and `Project.backtest`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from shroff.backtest.document import (
    ReportBalance,
    ReportCell,
    ReportDocument,
    ReportHits,
    ReportLearnt,
    ReportRow,
    ReportRule,
    ReportSide,
)
from shroff.backtest.explored import Explored, explored_in, words_of
from shroff.backtest.outcomes import LABELS, NONE, DraftVerdicts, JudgedEvents, JudgedRange, judge
from shroff.backtest.plan import DraftComparison, changed_parts
from shroff.backtest.report import UNKNOWABLE, text
from shroff.backtest.tally import (
    SEED,
    Balance,
    Hits,
    RuleTally,
    Side,
    TallyCell,
    balance,
    cells,
    changed_rows,
    gone_rules,
    rule_tallies,
    rules_at,
)
from shroff.backtest.training_overlap import Learnt, learnt_of, learnt_rows, unscored
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.types import TIME, money
from shroff.language.values import show_decimal
from shroff.log.columns.tables import arrow_type
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions
from shroff.project.policy import OUTCOMES
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.progress import Progress
from shroff.runtime.texts import Printed
from shroff.runtime.whole_files import csv_line, write_lines, write_tables
from shroff.streams.log import Log, LogReader, Record

__all__ = ["DraftComparison", "JudgedPeriod", "Report", "backtest", "first_place", "write_changed"]
ROWS: Final = 20  # changed rows that are shown
PIECE_ROWS: Final = 1 << 16  # changed rows that are written at a time
NEAR: Final = 4_096  # places that are read one after the other when a moment is looked for


@dataclass(frozen=True, slots=True, repr=False)
class Report(Printed):
    """Result of a backtest.

    Args:
        draft: Names of what was laid over the project's files; none: the files as they are.
        span: The places that were judged; `start_ms` and `end_ms` as they were asked for.
        events: How many events were judged.
        matrix: Counts and money by outcomes and label, empty cells left out.
        gone: Rules that hit then and are not in the draft, with how often.
        balance: Of the events of which no model of the draft knows the answer; `learnt` has those of which one does.
        explored: What was let through then, though the score would have declined it.
        unscored: How many events had no model at their place in the log, though the project has one now.
        differing: How many recorded decisions differ from what the project without the draft decides.
    """

    draft: tuple[str, ...]
    definitions: Definitions
    span: JudgedRange
    start_ms: int | None
    end_ms: int | None
    verdicts: DraftVerdicts
    events: int
    seconds: float
    matrix: tuple[TallyCell, ...]
    rules: tuple[RuleTally, ...]
    gone: Mapping[str, int]
    balance: Balance
    explored: tuple[Explored, ...] = ()
    learnt: Learnt | None = None
    unscored: int = 0
    differing: int = 0

    def __repr__(self) -> str:
        return text(self)

    @property
    def remarks(self) -> list[str]:
        """Warnings about the figures."""
        found = [] if self.learnt is None else self.learnt.remarks()
        if self.unscored:
            found.append(
                f"{self.unscored:,} of {self.events:,} events have no score: no model was active at their place in the "
                "log. Name one with --model ID to score them."
            )
        has_said = self.learnt is not None and self.learnt.events and not self.balance.mature
        if self.changes and not (self.balance.is_known or has_said):
            has_label = any(cell.label != LABELS[NONE] for cell in self.matrix)
            found.append(_not_known(self.balance, has_label=has_label))
        return found

    @property
    def immature(self) -> int:
        """Number of events younger than the label delay."""
        return sum(cell.count for cell in self.matrix if cell.is_immature)

    @property
    def because(self) -> list[str]:
        """What changed since recorded decisions that differ for other reasons than the draft."""
        return changed_parts(self.verdicts.versions) if self.differing else []

    @property
    def changes(self) -> int:
        """Number of events whose outcome the draft changes."""
        return sum(cell.count for cell in self.matrix if cell.old != cell.new)

    def money(self, minor: int) -> str:
        """An amount as JSON has it."""
        return show_decimal(minor, self.definitions.settings.money_places)

    def document(self, rows: int = ROWS) -> ReportDocument:
        """The complete report as JSON, with the first changed events."""
        return {
            "draft": list(self.draft),
            "events": self.events,
            "seconds": round(self.seconds, 3),
            "from": None if self.start_ms is None else time_text(self.start_ms),
            "to": None if self.end_ms is None else time_text(self.end_ms),
            "as_of": time_text(self.span.as_of_ms),
            "money": self.definitions.settings.currency,
            "outcomes": [self._cell(cell) for cell in self.matrix],
            "immature": self.immature,
            "recorded": {"differ": self.differing, "because": self.because},
            "balance": self._balance(self.balance),
            "learnt_from": self._learnt(),
            "remarks": self.remarks,
            "rules": [self._rule(rule) for rule in self.rules],
            "rules_gone": dict(self.gone),
            "changed": self.changes,
            "changed_rows": self.changed(rows),
            "exploration": [one.document(self.definitions.settings.money_places) for one in self.explored],
            "undecided": self.verdicts.undecided,
            "unknowable": UNKNOWABLE,
        }

    def explorations(self) -> list[str]:
        """Results of exploration and their cost, a text for each event type."""
        settings = self.definitions.settings
        return [words_of(one, settings.money_places, settings.currency) for one in self.explored]

    def changed(self, count: int) -> list[ReportRow]:
        """Some events whose outcome is another one, drawn at random (seeded), type by type in log order."""
        types = [(judged, changed_rows(judged)) for judged in self.verdicts.types.values()]
        total, first, found = sum(len(rows) for _, rows in types), 0, list[ReportRow]()
        drawn = np.random.default_rng(SEED).permutation(total)[:count]
        for judged, rows in types:
            here = drawn[(drawn >= first) & (drawn < first + len(rows))] - first
            found += self._rows(judged, rows[np.sort(here)])
            first += len(rows)
        return found

    def all_changed(self) -> Iterator[list[ReportRow]]:
        """All changed events, in pieces."""
        for judged in self.verdicts.types.values():
            rows = changed_rows(judged)
            for first in range(0, len(rows), PIECE_ROWS):
                yield self._rows(judged, rows[first : first + PIECE_ROWS])

    def _rows(self, judged: JudgedEvents, rows: Any) -> list[ReportRow]:
        ids = judged.ids.take(pa.array(rows, pa.int64())).to_pylist()
        columns = zip(
            *(column[rows].tolist() for column in (judged.seqs, judged.times_ms, judged.old, judged.new)),
            *(column[rows].tolist() for column in (judged.labels, judged.is_immature, judged.amounts_minor)),
            rules_at(judged.old_hits, rows),
            rules_at(judged.hits, rows),
            strict=True,
        )
        return [
            {
                "event": judged.event,
                "id": id_,
                "seq": seq,
                "time": time_text(time_ms),
                "old": OUTCOMES[old],
                "new": OUTCOMES[new],
                "label": LABELS[label],
                "immature": immature,
                "money": self.money(amount),
                "old_rules": old_rules,
                "rules": rules,
            }
            for id_, (seq, time_ms, old, new, label, immature, amount, old_rules, rules) in zip(
                ids, columns, strict=True
            )
        ]

    def _cell(self, cell: TallyCell) -> ReportCell:
        return {
            "event": cell.event,
            "old": cell.old,
            "new": cell.new,
            "label": cell.label,
            "immature": cell.is_immature,
            "count": cell.count,
            "money": self.money(cell.amount_minor),
        }

    def _rule(self, one: RuleTally) -> ReportRule:
        rule = one.rule
        return {
            "id": rule.id,
            "on": rule.on,
            "effect": rule.effect,
            "shadow": rule.is_shadow,
            "kept": one.is_kept,
            "effective": one.effective,
            **self._hits(one.new),
            "only": self._hits(one.only),
            "overlap": dict(one.overlap),
            "old": self._hits(one.old),
        }

    def _hits(self, hits: Hits) -> ReportHits:
        labels = hits.by_label
        return {
            "hits": hits.count,
            "fraud": labels["fraud"],
            "genuine": labels["genuine"],
            "unclear": labels["unclear"],
            "none": labels["none"],
            "immature": hits.immature,
            **hits.precision,
            "money": self.money(hits.amount_minor),
            "fraud_money": self.money(hits.fraud_minor),
        }

    def _balance(self, one: Balance) -> ReportBalance:
        ends = one.interval_minor if one.is_known else None
        low, high = (None, None) if ends is None else (self.money(round(end)) for end in ends)
        return {
            "old": self._side(one.old),
            "new": self._side(one.new),
            "net": self.money(round(one.net_minor)) if one.is_known else None,
            "low": low,
            "high": high,
            "days": len(one.by_day),
            "events": one.events,
            "labelled": one.labelled,
        }

    def _learnt(self) -> ReportLearnt | None:
        one = self.learnt
        if one is None:
            return None
        return {
            "models": list(one.models),
            "not_told": list(one.untold),
            "until": time_text(one.until_ms) if one.models else None,
            "events": one.events,
            "behind": one.behind,
            "balance": self._balance(one.balance),
        }

    def _side(self, side: Side) -> ReportSide:
        return {
            "frauds_stopped": side.frauds_stopped,
            "fraud_money_stopped": self.money(side.fraud_minor),
            "reviews": side.reviews,
            "false_declines": side.false_declines,
        }


@dataclass(frozen=True, slots=True)
class JudgedPeriod:
    """The period of a backtest.

    Args:
        as_of_ms: Labels that were known then count; None where the log has no events.
        start_ms: The draft is in force from the first event at or after this moment on; by default from the beginning.
        end_ms: The backtest ends before the first event at or after this time.
    """

    as_of_ms: int | None
    start_ms: int | None = None
    end_ms: int | None = None


def backtest(
    log: Log,
    draft: Definitions,
    names: Iterable[str] = (),
    *,
    period: JudgedPeriod,
    how: DraftComparison = DraftComparison(),  # noqa: B008 - it never changes
    reading: Progress | None = None,
    computing: Progress | None = None,
) -> Report:
    """Compare a draft with the project without it: both decide a log anew, with lists and models as of each event.

    Args:
        how: By default it is compared with what is active at the end of the log.

    Raises: UsageError where the log has no events, or none that was decided in the stretch, or the end lies before the
        start.
    """
    began = time.monotonic()
    start_ms, end_ms, as_of_ms = period.start_ms, period.end_ms, period.as_of_ms
    if as_of_ms is None:
        raise UsageError("the log has no events to judge. Bring some in with 'shroff ingest FILE --as EVENT'.")
    if start_ms is not None and end_ms is not None and end_ms <= start_ms:
        raise UsageError(f"--to {time_text(end_ms)} is not after --from {time_text(start_ms)}.")
    late_ms, last = lateness_of(log, draft), log.last_seq()
    after = 0 if start_ms is None else first_place(log, start_ms, late_ms, last) - 1
    upto = last if end_ms is None else first_place(log, end_ms, late_ms, last) - 1
    span = JudgedRange(after, upto, as_of_ms)
    draft.require_models()
    with calm_collector():
        verdicts = judge(log, draft, span, reading, computing, how=how)
        judged = list(verdicts.types.values())
        if not any(map(len, judged)):
            raise UsageError(_nothing_judged(log, start_ms, end_ms, verdicts.undecided))
        learnt = [np.zeros(len(one), np.bool_) for one in judged]
        if how.judges_models:
            learnt = learnt_rows(verdicts.versions, judged)
        policies = [draft.policy(one.event) for one in judged]
        rules_on = {one.event: [rule for rule in draft.rules if rule.on == one.event] for one in judged}
        tallies = [tally for one in judged for tally in rule_tallies(one, rules_on[one.event], verdicts.kept)]
        return Report(
            tuple(names),
            draft,
            span,
            start_ms,
            end_ms,
            verdicts,
            sum(map(len, judged)),
            time.monotonic() - began,
            tuple(cell for one in judged for cell in cells(one)),
            tuple(tallies),
            {rule: count for one in judged for rule, count in gone_rules(one, draft.rules).items()},
            balance(judged, policies, [~rows for rows in learnt]),
            explored_in(log, judged),
            learnt_of(verdicts.versions, judged, learnt) if how.judges_models else None,
            unscored(verdicts.versions, judged, draft) if how.judges_models else 0,
            sum(int(np.count_nonzero(one.recorded != one.old)) for one in judged),
        )


def _not_known(balance: Balance, *, has_label: bool) -> str:
    """Reason why the value of a draft is unknown."""
    unknown = "so it is not known which are frauds, nor what the draft is worth."
    if not balance.mature:
        also = "" if has_label else ", and NOT ONE HAS A LABEL"
        return f"Of {balance.events:,} events each is younger than the label delay{also}, {unknown}"
    cure = "Bring labels in ('shroff label', or --labels beside FILEs)."
    return f"Of {balance.mature:,} events that are old enough NOT ONE HAS A LABEL, {unknown} {cure}"


def _nothing_judged(log: LogReader, start_ms: int | None, end_ms: int | None, undecided: int) -> str:
    """Message that no event was compared, and which period has events."""
    if undecided:
        were = "event there was" if undecided == 1 else "events there were"
        return f"{undecided:,} {were} taken without a decision, so there is nothing to compare the draft with."
    start = "its beginning" if start_ms is None else time_text(start_ms)
    end = "its end" if end_ms is None else time_text(end_ms)
    text = f"no event of the log that is decided lies from {start} to {end}."
    span = _span_of(log)
    return text if span is None else f"{text} Its events are of {time_text(span[0])} to {time_text(span[1])}."


def _span_of(log: LogReader) -> tuple[int, int] | None:
    """Times of the first and last event, by sequence number; None without events."""
    last = log.last_seq()
    first = _event_from(log, 1, last + 1) or next(_events(log, 0, last), None)
    if first is None:
        return None
    for end in range(last, 0, -NEAR):
        times = [event.time_ms for event in _events(log, max(end - NEAR, 0), end)]
        if times:
            return first.time_ms, max(times)
    return None


def _events(log: LogReader, after: int, upto: int) -> Iterator[Record]:
    return (record for records in log.read(after, upto) for record in records if record.kind == "event")


def first_place(log: LogReader, moment_ms: int, lateness_ms: int, last: int) -> int:
    """Sequence number of the first event at or after a time; the one after the last if there is none.

    Before it all events are earlier than the moment, and from it on later than the moment less the lateness.
    Cost: some 20 questions, and reading what lies so close to the moment that halves tell nothing.
    """
    before, end = 0, last + 1  # it stands behind `before`, and not behind `end`
    while end - before > NEAR:
        record = _event_from(log, (before + end) // 2, end)
        if record is None or moment_ms - lateness_ms <= record.time_ms < moment_ms:
            break
        if record.time_ms >= moment_ms:
            end = record.seq
        else:
            before = record.seq
    for records in log.read(before, min(end, last)):
        for one in records:
            if one.kind == "event" and one.time_ms >= moment_ms:
                return one.seq
    return end


def _event_from(log: LogReader, place: int, end: int) -> Record | None:
    """The first event from a sequence number on, within the next few records."""
    for records in log.read(place - 1, min(place + NEAR // 2, end - 1), 64):
        for record in records:
            if record.kind == "event":
                return record
    return None


def _schema(money_places: int) -> pa.Schema:
    """The columns of the events that change, with the types that they have in Parquet."""
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


def write_changed(report: Report, out: Path) -> int:
    """Write all events whose outcome is another one, as CSV or Parquet by the file's name; gives how many there are.

    Raises: UsageError for another name.
    """
    if out.suffix.lower() not in {".csv", ".parquet"}:
        raise UsageError(f"{out} should end with .csv or .parquet.")
    schema = _schema(report.definitions.settings.money_places)
    pieces = report.all_changed()
    if out.suffix.lower() == ".parquet":
        return write_tables(out, schema, (pa.Table.from_pylist(list(map(_typed, rows)), schema) for rows in pieces))
    count = 0

    def lines() -> Iterator[list[bytes]]:
        nonlocal count
        yield [",".join(schema.names).encode() + b"\n"]
        for rows in pieces:
            count += len(rows)
            yield [csv_line(map(_cell, _flat(row).values())) for row in rows]

    write_lines(out, lines())
    return count


def _typed(row: ReportRow) -> dict[str, Any]:
    return {**row, "time": datetime.fromisoformat(row["time"]), "money": Decimal(row["money"])}


def _flat(row: ReportRow) -> dict[str, Any]:
    return {**row, "old_rules": " ".join(row["old_rules"]), "rules": " ".join(row["rules"])}


def _cell(value: object) -> str:
    return "" if value is None else str(value)
