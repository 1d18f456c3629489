"""`shroff counts`: events by type and day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from shroff.cli import completion
from shroff.cli.options import gathered
from shroff.cli.session import Session, command, many, one_line, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.analytics.counts import EventCount

BAR: Final = 30  # signs of the longest bar


@dataclass(frozen=True, slots=True)
class CountOptions:
    """The options of `shroff counts`."""

    first: str | None
    last: str | None
    types: str
    by: str
    zone: str
    zeros: bool
    source: str | None


@command(
    "counts",
    "shroff counts",
    "shroff counts --from 2026-03-01 --to 2026-03-31 --types payment --by week",
    "shroff counts --by channel --json",
    "shroff counts --by source",
)
@click.option("--from", "first", metavar="DAY", help="The first day.  [default: six days before the last]")
@click.option("--to", "last", metavar="DAY", help="The last day, included.  [default: that of the newest event]")
@click.option(
    "--types", metavar="A,B", default="", shell_complete=completion.event_types, help="Event types.  [default: all]"
)
@click.option(
    "--by",
    metavar="day|week|source|FIELD",
    default="day",
    show_default=True,
    help="What each row counts: a day, a week, or a day and a source or a value of a field.",
)
@click.option(
    "--zone", metavar="ZONE", default="", help="Time zone of the days, as Europe/Berlin.  [default: the project's]"
)
@click.option("--zeros", is_flag=True, help="Include days without an event.")
@click.option("--source", metavar="NAME", help="Only events of this source.")
@gathered(CountOptions)
def counts(session: Session, options: CountOptions) -> None:
    """Count events by type and day; each event counts once.

    Days are by event time; a week is shown as its Monday. A field splits each day by its values. Whole days in UTC
    take a moment, since the log counts as it is written. In other zones, by fields and by sources the days
    are read from the lake and the log, at 5 µs an event of theirs in the log.
    A source has its name in shroff.yaml, else 'api', 'files', 'kafka' and the like. Old events have none.
    """
    from shroff.analytics.counts import rows_of

    found = session.project.analytics.event_counts(
        options.first,
        options.last,
        types=[one for one in options.types.split(",") if one],
        by=options.by,
        zone=options.zone,
        zeros=options.zeros,
        source=options.source,
    )
    session.answer(dict(rows_of(found, options.by)), _text(found, options.by))
    session.next("shroff counts --by week", "shroff export events")


def _text(found: Sequence[EventCount], by: str) -> str:
    if not found:
        return "No events on these days."
    is_split, lacking = by not in {"day", "week"}, "-" if by == "source" else "(missing)"
    most = max(one.count for one in found) or 1
    rows = [
        (
            one.day.isoformat(),
            one.type,
            *([one_line(lacking if one.value is None else one.value)] if is_split else []),
            one.count,
            "▇" * round(BAR * one.count / most),
        )
        for one in found
    ]
    heads = ("week of" if by == "week" else "day", "type", *([by] if is_split else []), "events", "")
    return f"{table(rows, heads)}\n{many(sum(one.count for one in found), 'event')}."
