"""A chart of an entity's amounts before a decision: 30 days on the left, the last 15 minutes and later on the right."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from shroff.explain.past import REACH_MS, Amount, AmountsBefore
from shroff.runtime.values import FrozenStruct
from shroff.web.pages.charts.plots import Axis, Mark, Spot, ticks
from shroff.web.pages.words import count, money

RECENT_MS = 15 * 60_000
HEIGHT = 150
# Per cent of the width
EDGE = 56.0  # start of the last 15 minutes
END = 98.0  # end of the chart
SINCE = 80.0  # end of the 15 minutes if there are later amounts
HEADROOM = 1.18  # height of the axis over the greatest amount, for its label
NEAR = 12.0  # per cent of the height within which two labels touch


class AmountChart(FrozenStruct):
    """A dot for each amount; `this` is that of the decision. Positions are in per cent.

    Args:
        band: Top and height of the typical range; None if there is none.
        limit: Line of a rule's limit, with its label.
        since: Start of the later amounts; 100 if there are none.
        rows: Amounts of the last 15 minutes, newest first.
        says: Sentences that describe the chart.
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
    """Build the chart of the amounts before a decision and of `later` ones, oldest first; None if `found` is None."""
    if found is None:
        return None
    own = found.own
    edge_ms = own.time_ms - RECENT_MS
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
        [Mark(top(value), f"{value:,.10g} {currency}") for value in ticks(y.low, y.high)],
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

    on_entity = f"on this {found.entity.replace('_', ' ')}"
    together = money(sum((amount.value for amount in recent), Decimal(0)), currency)
    least = "At least " if found.is_cut else ""  # earlier amounts may be missing
    first = f"{'' if before else least}{many(len(recent))} {on_entity} in the last 15 minutes, {together} together."
    sentences = [first if len(recent) > 1 else f"No other {noun} {on_entity} in the last 15 minutes."]
    if before:
        sentences.append(f"{least}{many(len(before))} in the 30 days before.")
    if found.typical is not None:
        low, high = (Decimal(end).quantize(found.own.value) for end in found.typical)
        of_past = f"of the last {count(found.typical_of)} earlier amounts"
        sentences.append(f"Typical range {of_past}: {money(low)} to {money(high, currency)}.")
    if later:
        since = money(sum((amount.value for amount in later), Decimal(0)), currency)
        sentences.append(f"{many(len(later))} since then, {since} together.")
    if found.limit is not None:
        sentences.append(f"Rule {found.rule} compares amounts with {money(found.limit, currency)}.")
    return sentences
