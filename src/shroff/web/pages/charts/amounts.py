"""Amounts of a card, device or customer as a chart: 30 days, beside them with more room the last 15 minutes, and what
came since.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from shroff.explain.past import REACH_MS, Amount, AmountsBefore
from shroff.runtime.values import FrozenStruct
from shroff.web.pages.charts.plots import Axis, Mark, Spot, ticks
from shroff.web.pages.words import count, money

RECENT_MS = 15 * 60_000
HEIGHT = 150
EDGE = 56.0  # per cent of the width, where the last 15 minutes begin
END = 98.0  # where they end, and the picture
SINCE = 80.0  # where they end if something came since
HEADROOM = 1.18  # above the greatest amount, for its words
NEAR = 12.0  # per cent of the height within which two lines of text touch


class AmountChart(FrozenStruct):
    """Dots of amounts up to a decision, whose own one is `this`; places in per cent.

    Args:
        band: Top and height of the typical range; None if there is none.
        limit: Where the line of a rule's limit lies, with its words.
        since: Where what came since begins; the width where nothing did.
        rows: The amounts of the last 15 minutes, newest first.
        says: What the picture shows, in sentences.
    """

    entity: str
    dots: Sequence[Spot]
    this: Spot
    across: Sequence[Mark]
    band: tuple[float, float] | None
    band_says: str
    limit: Mark | None
    start_ms: int
    end_ms: int
    since: float
    rows: Sequence[Amount]
    says: Sequence[str]


def amount_chart(
    found: AmountsBefore | None, event: str, currency: str, later: Sequence[Amount] = ()
) -> AmountChart | None:
    """The chart of a decision's amounts, and of later ones by time; None where there is nothing beside its own."""
    if found is None:
        return None
    own, edge_ms = found.own, found.own.time_ms - RECENT_MS
    before = [payment for payment in found.earlier if payment.time_ms <= edge_ms]
    recent = [payment for payment in found.earlier if payment.time_ms > edge_ms]
    start_ms = found.earlier[0].time_ms if found.is_cut else own.time_ms - REACH_MS
    left = Axis(min(start_ms, edge_ms - 1), edge_ms)
    right = Axis(edge_ms, own.time_ms)
    until_ms, end = (later[-1].time_ms, SINCE) if later else (own.time_ms, END)
    after = Axis(own.time_ms, max(until_ms, own.time_ms + 1))
    values = [float(amount.value) for amount in (*found.earlier, own, *later)] + (
        [] if found.limit is None else [float(found.limit)]
    )
    typical = found.typical
    values += typical or ()
    y = Axis(min(0.0, *values), (max(values) or 1.0) * HEADROOM)

    def top(value: Decimal | float) -> float:
        return round(100 - y.at(float(value)), 2)

    dots = [Spot(round(left.at(payment.time_ms) * EDGE / 100, 2), top(payment.value), "dot") for payment in before]
    dots += [
        Spot(round(EDGE + right.at(payment.time_ms) * (end - EDGE) / 100, 2), top(payment.value), "dot-now")
        for payment in recent
    ]
    dots += [
        Spot(round(end + after.at(amount.time_ms) * (END - end) / 100, 2), top(amount.value), "dot-now")
        for amount in later
    ]
    limit = None if found.limit is None else Mark(top(found.limit), f"limit {money(found.limit)}")
    is_near = typical is not None and limit is not None and abs(top(typical[1]) - limit.at) < NEAR
    return AmountChart(
        found.entity,
        dots,
        Spot(end, top(own.value), "this", f"{money(own.value)}, this one", is_left=True),
        [Mark(top(value), f"{value:,.10g}") for value in ticks(y.low, y.high)],
        None if typical is None else (top(typical[1]), round(max(1.5, top(typical[0]) - top(typical[1])), 2)),
        "" if typical is None or is_near else f"typical up to {money(Decimal(typical[1]).quantize(own.value))}",
        limit,
        start_ms,
        until_ms,
        end if later else 100.0,
        [own, *reversed(recent)],
        _sentences(found, [*recent, own], before, later, event.replace("_", " "), currency),
    )


def _sentences(
    found: AmountsBefore,
    recent: Sequence[Amount],
    before: Sequence[Amount],
    later: Sequence[Amount],
    noun: str,
    currency: str,
) -> list[str]:
    def many(number: int) -> str:
        return f"{count(number)} {noun}{'' if number == 1 else 's'}"

    of = f"on this {found.entity.replace('_', ' ')}"
    together = money(sum((amount.value for amount in recent), Decimal(0)), currency)
    least = "At least " if found.is_cut else ""  # of the earliest ones, which may not be all
    first = f"{'' if before else least}{many(len(recent))} {of} in the last 15 minutes, {together} together."
    said = [first if len(recent) > 1 else f"No other {noun} {of} in the last 15 minutes."]
    if before:
        said.append(f"{least}{many(len(before))} in the 30 days before.")
    if found.typical is not None:
        low, high = (Decimal(end).quantize(found.own.value) for end in found.typical)
        of_past = f"of the last {count(found.typical_of)} earlier amounts"
        said.append(f"Typical range {of_past}: {money(low)} to {money(high, currency)}.")
    if later:
        since = money(sum((amount.value for amount in later), Decimal(0)), currency)
        said.append(f"{many(len(later))} since then, {since} together.")
    if found.limit is not None:
        said.append(f"Rule {found.rule} compares amounts with {money(found.limit, currency)}.")
    return said
