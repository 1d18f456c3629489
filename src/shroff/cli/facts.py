"""`shroff facts`: the features of one key at a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shroff.cli.session import Session, command, many, one_line, table

if TYPE_CHECKING:
    from shroff.analytics.facts import KeyFacts


@command(
    "facts",
    "shroff facts card c-7",
    "shroff facts card c-7 --as-of 2026-03-02T12:00:00Z --features card.spent_24h,card.payments_1h --json",
    "shroff facts card c-7 --since card.spent_24h=2026-03-01",
)
@click.argument("entity", metavar="ENTITY")
@click.argument("key", metavar="KEY")
@click.option("--as-of", metavar="T", help="A time or a day.  [default: the time of the newest event]")
@click.option("--features", metavar="F,G", default="", help="Only these features.  [default: all of the entity]")
@click.option(
    "--since",
    metavar="[F=]T",
    multiple=True,
    help="Ignore earlier events, for all features or for one. May be repeated.",
)
def facts(session: Session, entity: str, key: str, as_of: str | None, features: str, since: tuple[str, ...]) -> None:
    """Show the features of one key of an entity at a point in time.

    Each value is the one that an event of this key would see at that time, computed from the key's events in the log.
    That event itself does not count, also not with `including this`. Features that read a field of the current event
    (`this.amount`) have no value between events and are left out.
    """
    from shroff.analytics.facts import document_of

    names = [one for one in features.split(",") if one]
    found = session.project.analytics.facts(entity, key, as_of=as_of, features=names, since=_cut_offs(since))
    session.answer(dict(document_of(found)), _text(found))
    session.next("shroff index")


def _cut_offs(since: tuple[str, ...]) -> str | dict[str, str] | None:
    """One time for all features, or a time for each."""
    alone = [one for one in since if "=" not in one]
    if len(alone) > 1 or (alone and len(since) > 1):
        raise click.UsageError("give --since once, or --since FEATURE=TIME for each feature.")
    return alone[0] if alone else dict(one.split("=", 1) for one in since) or None


def _text(found: KeyFacts) -> str:
    from shroff.cli.explain import shown
    from shroff.events.event import time_text

    rows = [(name, one_line(shown(value))) for name, value in found.features.items()]
    head = f"{found.entity} {one_line(found.key)} at {time_text(found.as_of_ms)}: {many(found.events, 'event')} read"
    left = [f"  {name} {reason}" for name, reason in found.left_out.items()]
    parts = [head, table(rows) if rows else "  This entity has no feature that has a value between events."]
    return "\n".join([*parts, *(["Left out:", *left] if left else [])])
