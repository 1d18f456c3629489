"""`shroff funnel`: drop-off, recovery and time taken of the funnels in funnels.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from shroff.cli.options import gathered
from shroff.cli.session import Session, command, many, one_line, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shroff.analytics.funnels import FunnelDocument


@dataclass(frozen=True, slots=True)
class FunnelOptions:
    """The options of `shroff funnel`."""

    first: str | None
    last: str | None
    zone: str
    by: str | None
    users: str
    day: str | None


@command(
    "funnel",
    "shroff funnel",
    "shroff funnel onboarding --from 2026-03-01 --to 2026-03-31 --zone Africa/Johannesburg --by channel",
    "shroff funnel onboarding --users still_out:signed_up --json",
)
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--from", "first", metavar="DAY", help="The first day.  [default: two days before the last]")
@click.option("--to", "last", metavar="DAY", help="The last day, included.  [default: yesterday]")
@click.option(
    "--zone", metavar="ZONE", default="", help="Time zone of the days, as Europe/Berlin.  [default: the project's]"
)
@click.option("--by", metavar="FIELD", help="Split all numbers by a field.  [default: `split` of the funnel]")
@click.option(
    "--users",
    metavar="NUMBER:STEP",
    default="",
    help="List the users behind a number: dropped_off, recovered or still_out of a step on a day; reached or lost.",
)
@click.option("--day", metavar="DAY", help="The day of --users.  [default: the last]")
@gathered(FunnelOptions)
def funnel(session: Session, name: str | None, options: FunnelOptions) -> None:
    """Count the users at each step of a funnel, or of all funnels of funnels.yaml.

    Per day, the output counts users who did a step but not the next one by the end of the day (dropped off). Of those
    who dropped off earlier, it counts who did the next step on that day (recovered) and who did not (still out). Over
    all days, it shows the users who reached each step, and the quartiles of the time since the previous step.
    """
    analytics = session.project.analytics
    if options.users:
        if name is None:
            raise click.UsageError("name the funnel whose users are wanted.")
        found = analytics.funnel_users(
            name, options.users, options.day, first=options.first, last=options.last, zone=options.zone
        )
        lines = "\n".join(one_line(one) for one in found)
        session.answer(
            {"funnel": name, "users": found}, f"{lines}\n{many(len(found), 'user')}." if found else "Nobody."
        )
        return
    document = analytics.funnel(name, options.first, options.last, zone=options.zone, split=options.by)
    session.answer(dict(document), _text(document))
    if document["rows"]:
        first = document["rows"][0]
        session.next(f"shroff funnel {first['funnel']} --users dropped_off:{first['step']}", "shroff counts")


def _text(document: FunnelDocument) -> str:
    names = list(dict.fromkeys(one["funnel"] for one in document["steps"]))
    parts = [f"{document['first']} to {document['last']}, days of {document['zone']}"]
    for name in names:
        rows = [one for one in document["rows"] if one["funnel"] == name]
        steps = [one for one in document["steps"] if one["funnel"] == name]
        parts += [name, table(*_steps(steps)), table(*_days(rows))]
    return "\n\n".join(parts)


def _steps(rows: Sequence[Mapping[str, object]]) -> tuple[list[tuple[object, ...]], tuple[str, ...]]:
    split = ("value",) if rows and "value" in rows[0] else ()
    shown = [
        (
            row["step"],
            *(_value(row[key]) for key in split),
            row["users"],
            "" if row["conversion"] is None else f"{row['conversion']:.1%}",
            *(_seconds(row[key]) for key in ("lower_quartile_s", "median_s", "upper_quartile_s")),
        )
        for row in rows
    ]
    return shown, ("step", *split, "users", "of first", "lower quartile", "median", "upper quartile")


def _days(rows: Sequence[Mapping[str, object]]) -> tuple[list[tuple[object, ...]], tuple[str, ...]]:
    split = ("value",) if rows and "value" in rows[0] else ()
    numbers = ("dropped_off", "recovered", "still_out")
    shown = [
        (row["day"], row["step"], *(_value(row[key]) for key in split), *(row[key] for key in numbers)) for row in rows
    ]
    return shown, ("day", "step", *split, "dropped off", "recovered", "still out")


def _value(value: object) -> str:
    return "(missing)" if value is None else one_line(str(value))


def _seconds(value: object) -> str:
    from shroff.language.values import show_duration

    return show_duration(round(1_000 * value)) if isinstance(value, float) else ""
