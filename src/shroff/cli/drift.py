"""`shroff drift`: what a model reads, its score and the label delay, recently against a reference."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from shroff.cli import completion
from shroff.cli.progress import bars
from shroff.cli.session import Session, argument, command, many, one_line, table
from shroff.events.event import time_text
from shroff.monitoring.drift import LIMIT

if TYPE_CHECKING:
    from shroff.monitoring.drift import Drift
    from shroff.monitoring.drift_report import DriftPeriod, DriftReport

MOVED: Final = 1


@command("drift", "shroff drift", "shroff drift --reference 90d --recent 14d", "shroff drift --fail --json")
@click.option(
    "--as", "event", metavar="EVENT", shell_complete=completion.event_types, help="Event type, if several have a model."
)
@click.option(
    "--reference",
    metavar="model|LENGTH",
    default="model",
    show_default=True,
    help="The reference data: model for the champion's training data, or a period before the recent one, as 90d.",
)
@click.option("--recent", metavar="LENGTH", default="7d", show_default=True, help="The length of the recent period.")
@click.option(
    "--as-of", metavar="TIME", help="End of the recent period; a day is its start, UTC.  [default: the newest event]"
)
@click.option("--fail", is_flag=True, help="Exit with status 1 if something has drifted.")
def drift(session: Session, event: str | None, reference: str, recent: str, as_of: str | None, fail: bool) -> int:
    """Measure drift of the champion's inputs, its score and the label delay, largest first.

    The measure is the population stability index (PSI): below 0.1 little has changed, from 0.2 on much has. An item
    has drifted if its PSI is at least 0.2 and above what chance gives for samples of these sizes. `doctor` reports
    drift until it ends.
    """
    with bars("reading, events") as (reading,):
        report = session.project.health.drift(event, reference=reference, recent=recent, as_of=as_of, reading=reading)
    session.answer(document_of(report), _text(report))
    session.next(
        *([f"shroff train --as {argument(report.event)}", "shroff doctor"] if report.moved else ["shroff doctor"])
    )
    return MOVED if fail and report.moved else 0


def document_of(report: DriftReport) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "event": report.event,
        "as_of": time_text(report.as_of_ms),
        "model": report.model,
        "reference": report.reference.as_document(),
        "recent": report.recent.as_document(),
        "limit": LIMIT,
        "moved": [one.name for one in report.moved],
        "unclear": [one.name for one in report.unclear],
        "inputs": [{**asdict(one), "has_moved": one.has_moved, "is_unclear": one.is_unclear} for one in report.found],
        "redefined": list(report.redefined),
        "label_delay_days": {"reference": report.label_delay_days[0], "recent": report.label_delay_days[1]},
        "remarks": list(report.remarks),
    }


def _text(report: DriftReport) -> str:
    by = f" by {report.model}" if report.model else ""
    unclear, found = len(report.unclear), len(report.found)
    moved = f"{len(report.moved):,} of {found:,} drifted" if report.moved else "no drift"
    if unclear:
        few = f"too few events to judge {unclear:,} of {found:,}"
        moved = f"unclear, {few}" if unclear == found else f"{moved}, {few}"
    lines = [
        f"{report.event}{by}: {moved}, as of {time_text(report.as_of_ms)}.",
        f"  reference  {_stretch(report.reference)}",
        f"  recent     {_stretch(report.recent)}",
        "",
        table(
            [_row(one) for one in report.found],
            ("", "", "index", "by chance", "test", "p", "missing", "before", "unseen"),
        ),
    ]
    if None not in report.label_delay_days:
        before, now = report.label_delay_days
        lines += ["", f"  Median label delay: {now:.1f} days; {before:.1f} days in the reference."]
    lines += [f"  {one_line(words)}" for words in report.remarks]
    return "\n".join(lines)


def _stretch(one: DriftPeriod) -> str:
    return f"{time_text(one.start_ms)} to {time_text(one.end_ms)}, {many(one.rows, 'event')}: {one.about}"


def _row(one: Drift) -> tuple[str, ...]:
    test = "-" if one.statistic is None else f"{one.test} {one.statistic:.3g}"
    p_value = "-" if one.p_value is None else f"{one.p_value:.2g}"
    mark = "moved" if one.has_moved else "too few" if one.is_unclear else ""
    shares = (f"{share:.1%}" for share in (one.missing_now, one.missing_before, one.unseen))
    return one.name, mark, f"{one.psi:.3f}", f"{one.psi_by_chance:.3f}", test, p_value, *shares
