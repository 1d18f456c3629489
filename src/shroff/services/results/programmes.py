"""Ratios of card schemes' programmes in a month: reports by payments, of each merchant or acquirer.

A report counts in the month in which it became known, whenever its payment was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from fractions import Fraction
from math import ceil, floor

import numpy as np
from msgspec import Struct, field

from shroff.arrays import Bools, Ints
from shroff.json_types import TextDict
from shroff.language.values import DAY_MS, day_start_ms, key_text, parse_money, show_decimal
from shroff.project.policy import OUTCOMES
from shroff.project.settings.programmes import ENUMERATION, ProgrammeLimit, ProgrammeSettings
from shroff.services.disputes.stages import is_stage
from shroff.services.results.figures import DecidedEvents
from shroff.services.results.outcome_rates import SchemeRatio

PACE_DAYS = 28  # whose pace predicts when a limit is reached
MERCHANTS_SHOWN = 5
SHARE_UNITS = 1_000_000  # exact for a share in percent with four decimal places


class _Tally(Struct):
    merchants: Counter[str] = field(default_factory=Counter)
    money: int = 0
    payments: int = 0

    @property
    def reports(self) -> int:
        return self.merchants.total()


class MonthRatios:
    """Ratios of a calendar month, from events with the columns that the settings name; `places` are of the currency."""

    def __init__(
        self, events: DecidedEvents, settings: ProgrammeSettings, month: date, as_of_ms: int, zone: str, places: int
    ) -> None:
        self._events = events
        self._settings = settings
        self._month = month
        self._places = places
        self._next_month = (month + timedelta(32)).replace(day=1)
        days = (month - timedelta(1)).replace(day=1), month, self._next_month
        previous_ms, self._start_ms, next_ms = (day_start_ms(day, zone) for day in days)
        self._end_ms = min(next_ms, as_of_ms + 1)
        self._pace_ms = max(self._end_ms - PACE_DAYS * DAY_MS, int(events.times_ms.min()))
        self._length_ms = self._end_ms - self._pace_ms
        self._left_ms = next_ms - self._end_ms
        self._divisors = {"same_month": (self._start_ms, self._end_ms), "previous_month": (previous_ms, self._start_ms)}
        self._acquirers, self._acquirer_names = self._texts(settings.acquirer)
        self._merchants, self._merchant_names = self._texts(settings.merchant)
        is_approved = events.outcomes == OUTCOMES.index("approve")
        self._settled = self._has(settings.settled) if settings.settled else is_approved
        self._reports = self._reported()

    def nearest_first(self) -> list[SchemeRatio]:
        """Return the ratios of all with reports in the month or in the days of the pace."""
        if self._length_ms <= 0:
            return []
        limits = sorted(self._settings.limits, key=lambda limit: limit.since)
        newest = {limit.name: limit for limit in limits if limit.since < f"{self._next_month}"}
        ratios = [ratio for limit in newest.values() for ratio in self._of_limit(limit)]
        return sorted(ratios, key=lambda of: (of.days_left is None, of.days_left or 0, -(of.ratio or 0) / of.limit))

    def _of_limit(self, limit: ProgrammeLimit) -> Iterator[SchemeRatio]:
        is_by_merchant = limit.by == "merchant"
        groups = self._acquirers * len(self._merchant_names) + self._merchants * is_by_merchant
        chosen = self._has({self._settings.scheme: limit.scheme})
        if limit.payments != "all":
            chosen &= self._has(self._settings.card_not_present)
        is_paid = chosen if ENUMERATION in limit.counts else chosen & self._settled
        first_ms = min(self._start_ms, self._pace_ms)
        counted = [(row, known_ms) for row, known_ms in self._counted(limit) if chosen[row] and known_ms >= first_ms]

        def tallies(since_ms: int, start_ms: int, end_ms: int) -> dict[int, _Tally]:
            """Return, by group, the reports since a time and the payments of another."""
            times_ms = self._events.times_ms
            paid = Counter(groups[is_paid & (times_ms >= start_ms) & (times_ms < end_ms)].tolist())
            by_group = {group: _Tally(payments=paid[group]) for group in groups[[row for row, _ in counted]].tolist()}
            for row, known_ms in counted:
                if known_ms >= since_ms:
                    tally = by_group[int(groups[row])]
                    tally.merchants[self._merchant_names[self._merchants[row]] or ""] += 1
                    tally.money += int(self._events.amounts[row])
            return by_group

        recent = tallies(self._pace_ms, self._pace_ms, self._end_ms)
        for group, tally in tallies(self._start_ms, *self._divisors[limit.divisor]).items():
            pace = recent[group]
            acquirer, merchant = divmod(group, len(self._merchant_names))
            ratio = SchemeRatio(
                limit.name,
                f"{self._month:%Y-%m}",
                self._acquirer_names[acquirer],
                self._merchant_names[merchant] if is_by_merchant else None,
                tally.reports,
                show_decimal(tally.money, self._places),
                tally.payments,
                tally.reports / tally.payments if tally.payments else None,
                limit.limit,
                limit.reports,
            )
            if (reached := self._reached(limit, tally, pace)) is not None:
                ratio.days_left = ceil(reached * self._length_ms / DAY_MS)
                ratio.money_left = show_decimal(floor(reached * pace.money), self._places)
            if not is_by_merchant:
                ratio.merchants = dict(tally.merchants.most_common(MERCHANTS_SHOWN))
            yield ratio

    def _reached(self, limit: ProgrammeLimit, tally: _Tally, pace: _Tally) -> Fraction | None:
        """Return after how many lengths of the pace all conditions hold; None if not in this month.

        A condition holds while its value is not below 0.
        """
        if not tally.payments:
            return None
        share = round(limit.limit * SHARE_UNITS)
        payments = pace.payments if limit.divisor == "same_month" else 0
        first = Fraction(0)
        last = Fraction(self._left_ms, self._length_ms)
        for now, more in (
            (tally.reports * SHARE_UNITS - share * tally.payments, pace.reports * SHARE_UNITS - share * payments),
            (tally.reports - max(limit.reports, 1), pace.reports),
            (tally.money - parse_money(limit.money, self._places), pace.money),
            (tally.payments - limit.settled, payments),
        ):
            if more > 0:
                first = max(first, Fraction(-now, more))
            elif more < 0:
                last = min(last, Fraction(now, -more))
            elif now < 0:
                return None
        return first if first <= last else None

    def _texts(self, name: str) -> tuple[Ints, Sequence[str | None]]:
        """Return the values of a field as indices into their texts; index 0 is None, for missing values."""
        if not name:
            return np.zeros(len(self._events.times_ms), np.int64), [None]
        values, names = self._events.columns[name]
        return values + 1, [None, *map(key_text, names)]

    def _has(self, wanted: dict[str, tuple[str, ...]]) -> Bools:
        """Return whether each event has one of the values of each field, ignoring case."""
        has = np.ones(len(self._events.times_ms), np.bool_)
        for name, allowed in wanted.items():
            values, texts = self._texts(name)
            folded = {text.casefold() for text in allowed}
            has &= np.array([text is not None and text.casefold() in folded for text in texts])[values]
        return has

    def _reported(self) -> list[tuple[int, int, TextDict]]:
        """Return time, row and stage of each report known by the end of the month and not left out, by time."""
        labels = self._events.reports
        stages = [*map(_stage, labels.reason_texts), {}]
        columns = (part.tolist() for part in (labels.known_at_ms, labels.rows, labels.reasons))
        known = sorted(row for row in zip(*columns, strict=True) if row[0] < self._end_ms and stages[row[2]])
        left_out = {row for _, row, code in known if stages[code].get("reason") in self._settings.left_out}
        return [(known_ms, row, stages[code]) for known_ms, row, code in known if row not in left_out]

    def _counted(self, limit: ProgrammeLimit) -> list[tuple[int, int]]:
        """Return row and time of each report that a limit counts: the first of each kind for a payment."""
        first: dict[tuple[int, str], int] = {}
        for known_ms, row, stage in self._reports:
            if stage["stage"] in limit.counts and (not limit.codes or stage.get("code") in limit.codes):
                first.setdefault((row, stage["stage"]), known_ms)
        if ENUMERATION in limit.counts:
            for row in self._events.rows_at(self._events.hits.get(self._settings.enumeration, ())).tolist():
                first[row, ENUMERATION] = int(self._events.times_ms[row])
        return [(row, known_ms) for (row, _), known_ms in first.items() if known_ms < self._end_ms]


def _stage(reason: str) -> TextDict:
    """Return the stage of a dispute with its details; nothing if the label is none."""
    _, stage, *pairs = reason.split() if is_stage(reason) else ("", "")
    return {"stage": stage, **dict(pair.partition("=")[::2] for pair in pairs)} if stage else {}
