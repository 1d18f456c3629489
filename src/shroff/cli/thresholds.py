"""`shroff thresholds`: from costs and people's time to cut-offs of the score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from shroff.cli import completion
from shroff.cli.session import Session, command, table

if TYPE_CHECKING:
    from shroff.decisions.cutoffs import Cutoffs
    from shroff.decisions.trainings import Applied
    from shroff.models.thresholds import Point

ROWS: Final = 12  # of the curve that is printed
TIMES_THE_BEST: Final = 5  # what costs more is not shown: nobody wants it, and the rest would look alike
BAR: Final = 24  # characters of its longest bar


@command(
    "thresholds",
    "shroff thresholds",
    "shroff thresholds --model m-20260701-3f2a",
    "shroff thresholds --apply",
)
@click.option(
    "--as",
    "event",
    metavar="EVENT",
    default="",
    shell_complete=completion.event_types,
    help="The event type, where models of several are in force.",
)
@click.option(
    "--model", metavar="ID", default="", shell_complete=completion.model_ids, help="A model that is not in force."
)
@click.option("--apply", is_flag=True, help="Write the cut-offs into policy.yaml, and put them in force.")
def thresholds(session: Session, event: str, model: str, apply: bool) -> None:
    """Weigh what frauds, declines and reviews cost, by policy.yaml, into the cut-offs that cost least.

    They are weighed on the events that the model was tested on, with scores of models that had not seen them. What
    rules decline or allow stays so, what they review counts against the reviews that people have time for.
    """
    found, applied = session.project.thresholds(event, model=model, apply=apply, waits=session.waits)
    document = found.as_document()
    if applied is not None:
        document |= {"in_force": applied.in_force, "why_not": applied.why_not}
    session.answer(document, _text(found, applied))
    session.next("shroff doctor" if apply else "shroff thresholds --apply")


def _text(cutoffs: Cutoffs, applied: Applied | None) -> str:
    found, best = cutoffs.found, cutoffs.found.best
    other = "." if found.now is None else f", with the policy as it is {found.now.cost:,.2f}."
    interval = f"95 %: {found.cost_low:,.2f} to {found.cost_high:,.2f}"
    reviews = f"{best.reviews:.1f} reviews a day, {found.reviews_most:,} on the busiest"
    lines = [
        f"{cutoffs.model} on {cutoffs.events:,} tested events of {found.days} days, {cutoffs.frauds:,} of them frauds:",
        f"  review_at   {_cut(best.review_at)}{_between(found.review_low, found.review_high)}",
        f"  decline_at  {_cut(best.decline_at)}{_between(found.decline_low, found.decline_high)}",
        f"That costs {best.cost:,.2f} a day ({interval}); without a score it is {found.without.cost:,.2f}{other}",
        f"{best.frauds_stopped:.0%} of the frauds are stopped; {reviews}.",
        "",
        _curve(cutoffs),
    ]
    if applied is not None:
        written = "policy.yaml is written, and in force from the next event on."
        lines += [
            "",
            written if applied.in_force else f"policy.yaml is written. It is not in force yet: {applied.why_not}.",
        ]
    return "\n".join(lines)


def _cut(cut: float | None) -> str:
    return "nothing" if cut is None else f"{cut:g}"


def _between(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f"  (95 %: {_cut(low)} to {_cut(high)})"


def _curve(cutoffs: Cutoffs) -> str:
    """A part of the curve, from high cut-offs to low ones, each with a bar for its cost; the best one is marked."""
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
    heads = ("review at", "decline at", "cost a day", "missed", "declines", "reviews", "stopped", "")
    return table(rows, heads)


def _place(point: Point) -> float:
    """Where a point stands on the curve: at its lower cut-off."""
    cuts = [cut for cut in (point.review_at, point.decline_at) if cut is not None]
    return min(cuts, default=2.0)
