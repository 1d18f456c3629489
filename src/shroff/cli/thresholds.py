"""`shroff thresholds`: from costs and people's time to thresholds of the score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from shroff.app.models.promotion import NoChampionError
from shroff.cli import completion
from shroff.cli.session import Session, command, many, one_line, table
from shroff.errors import UsageError

if TYPE_CHECKING:
    from shroff.app.models.cutoffs import AppliedCutoffs
    from shroff.models.evaluation.cost_table import Cuts, Point
    from shroff.training.cutoffs import Cutoffs

ROWS: Final = 12  # of the curve that is printed
TIMES_THE_BEST: Final = 5  # what costs more is not shown: nobody wants it, and the rest would look alike
BAR: Final = 24  # characters of its longest bar
CHOSEN_HERE: Final = "They were chosen on these same events, so this estimate is optimistic."


@command("thresholds", "shroff thresholds", "shroff thresholds --model m-20260701-3f2a", "shroff thresholds --apply")
@click.option(
    "--as",
    "event",
    metavar="EVENT",
    default="",
    shell_complete=completion.event_types,
    help="The event type, if several have a champion.",
)
@click.option("--model", metavar="ID", default="", shell_complete=completion.model_ids, help="An inactive model.")
@click.option("--apply", is_flag=True, help="Write the thresholds into policy.yaml and make them active.")
def thresholds(session: Session, event: str, model: str, apply: bool) -> None:
    """Choose the thresholds of the score with the lowest cost of fraud, declines and reviews, by policy.yaml.

    Costs are computed on the events of the model's test folds, with scores of models that were not trained on them.
    Outcomes that rules decline or allow stay. Reviews raised by rules count toward the review capacity, as a daily
    average (costs.reviews_a_day). The output gives the cost on these events and on folds that were not used for the
    choice. --apply changes only `score` in policy.yaml.
    """
    try:
        found, applied = session.project.cutoffs.thresholds(event, model=model, apply=apply, waits=session.waits)
    except NoChampionError as error:
        raise UsageError(f"{error} Name one of the registry with --model.") from None
    document: dict[str, object] = {**found.as_document()}
    if applied is not None:
        document |= {"in_force": applied.in_force, "why_not": applied.why_not}
    session.answer(document, _text(found, applied))
    session.next("shroff doctor" if apply else "shroff thresholds --apply")


def _text(cutoffs: Cutoffs, applied: AppliedCutoffs | None) -> str:
    found, best = cutoffs.found, cutoffs.found.best
    other = "." if found.now is None else f", with the policy as it is {found.now.cost:,.2f}."
    cost = f"{best.cost:,.2f}{_money(cutoffs)} a day{_interval(found.cost_low, found.cost_high)}"
    part = "" if cutoffs.share == 1 else f" ({cutoffs.share:.1%} of all, randomly sampled)"
    tested = f"{many(cutoffs.events, 'tested event')}{part} of {many(found.days, 'day')}"
    lines = [
        f"{cutoffs.model} on {tested}, {cutoffs.frauds:,} of them frauds:",
        f"  review_at   {_cut(best.review_at)}{_between(found.reviews_at)}",
        f"  decline_at  {_cut(best.decline_at)}{_between(found.declines_at)}",
        f"That costs {cost}; without a score it is {found.without.cost:,.2f}{other}",
        f"{best.frauds_stopped:.0%} of the frauds are stopped; {_reviews_text(cutoffs)}.",
        *_beyond_people_text(cutoffs),
        *_elsewhere_text(cutoffs),
        f"Intervals resample {one_line(found.drawn)}.",
        "",
        _curve(cutoffs),
    ]
    if applied is not None:
        written = "policy.yaml is written, and active from the next event on."
        lines += [
            "",
            written if applied.in_force else f"policy.yaml is written. It is not active yet: {applied.why_not}.",
        ]
    return "\n".join(lines)


def _money(cutoffs: Cutoffs) -> str:
    return f" {cutoffs.currency}" if cutoffs.currency else ""


def _reviews_text(cutoffs: Cutoffs) -> str:
    """Reviews a day beside what people have time for: a limit in the mean of days, so the busiest day stands beside."""
    found, limit = cutoffs.found, cutoffs.terms.reviews_a_day
    text = f"{found.best.reviews:.1f} reviews a day on average"
    if limit is None:
        return f"{text}, {found.reviews_most:,} on the busiest day"
    text += f", of a capacity of {limit:,g}; {found.reviews_most:,} on the busiest day"
    return f"{text}; {many(found.days_over, 'day')} of {found.days:,} above that" if found.days_over else text


def _beyond_people_text(cutoffs: Cutoffs) -> list[str]:
    """Where rules alone ask for more than people can do: no threshold can help that."""
    if not cutoffs.is_beyond_people:
        return []
    asked, limit = f"{cutoffs.found.without.reviews:.1f}", f"{cutoffs.terms.reviews_a_day:,g}"
    setting = "costs.reviews_a_day of policy.yaml"
    return [
        f"NOTE: rules alone require {asked} reviews a day; the review capacity is {limit} ({setting}).",
        "The score adds none. Let fewer rules send events to review, or raise reviews_a_day.",
    ]


def _elsewhere_text(cutoffs: Cutoffs) -> list[str]:
    """What such thresholds cost where they were not chosen."""
    there = cutoffs.found.elsewhere
    if there is None:
        why = cutoffs.found.why_not
        return [f"{CHOSEN_HERE} There is no out-of-fold estimate: {why}."]
    cost = f"{there.cost:,.2f}{_money(cutoffs)} a day{_interval(there.low, there.high)}"
    what = f"{there.frauds_stopped:.0%} of the frauds stopped, {there.reviews:.1f} reviews a day on average"
    lines = [CHOSEN_HERE, f"Out-of-fold estimate, chosen on all folds but one and tested on that one: {cost}: {what}."]
    if there.cost > cutoffs.found.without.cost:
        few = f"{many(cutoffs.frauds, 'fraud')} may be too few to choose thresholds"
        lines.append(f"That is more than without a score: {few}.")
    return lines


def _cut(cut: float | None) -> str:
    return "nothing" if cut is None else f"{cut:g}"


def _between(cuts: Cuts | None) -> str:
    if cuts is None or cuts == (None, None):
        return ""
    return f"  (95 %: {_cut(cuts[0])} to {_cut(cuts[1])})"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95 %: {low:,.2f} to {high:,.2f})"


def _curve(cutoffs: Cutoffs) -> str:
    """A part of the curve, from high thresholds to low ones, each with a bar for its cost; the best one is marked."""
    best = cutoffs.found.best
    points = [one for one in cutoffs.found.curve if one.cost <= TIMES_THE_BEST * best.cost]
    chosen = points[:: max(1, len(points) // ROWS)]
    shown = sorted({*chosen, best}, key=lambda one: (-_place(one), one.cost))
    most = max((one.cost for one in shown), default=0.0)
    rows = [
        (
            _cut(one.review_at),
            _cut(one.decline_at),
            f"{one.cost:,.2f}",
            f"{one.missed:,.2f}",
            f"{one.false_declines:,.2f}",
            f"{one.reviews:.1f}",
            f"{one.frauds_stopped:.0%}",
            "▆" * round(BAR * one.cost / most if most else 0) + (" ◂ cheapest" if one == best else ""),
        )
        for one in shown
    ]
    money = f",{_money(cutoffs)}" if cutoffs.currency else ""
    amounts = (f"{name}{money}" for name in ("cost a day", "missed", "false declines"))
    heads = ("review at", "decline at", *amounts, "reviews a day", "stopped", "")
    return table(rows, heads)


def _place(point: Point) -> float:
    """Where a point stands on the curve: at its lower threshold."""
    cuts = [cut for cut in (point.review_at, point.decline_at) if cut is not None]
    return min(cuts, default=2.0)
