"""`shroff lanes`: how each of several lanes is, and what all of them are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from shroff.cli.session import ExampleGroup, Session, command, json_option, table

if TYPE_CHECKING:
    from shroff.app.live.lane_views import LaneState


@click.group("lanes", cls=ExampleGroup, no_args_is_help=False)
@json_option
def lanes() -> None:
    """Several logs over the partitions of a topic, each with a worker of its own.

    'lanes' and 'key' under 'source: kafka:' in shroff.yaml say how many there are and by which entity messages are
    parted. What decides is the same in all of them, and they are told of it together.
    """


lanes.examples = ("shroff lanes show", "shroff lanes tell")


@command("show", "shroff lanes show", "shroff lanes show --json", group=lanes)
def show(session: Session) -> int:
    """Say for each lane how far its log is, and whether it has the project's files in force."""
    states = session.project.lanes.states()
    _answer(session, states)
    is_begun = all(one.versions is not None for one in states)
    session.next("shroff run" if not is_begun else "shroff verify" if _all_current(states) else "shroff lanes tell")
    return 0


@command("tell", "shroff lanes tell", group=lanes)
def tell(session: Session) -> int:
    """Tell all lanes that the project's files are in force: whole, in one transaction.

    Each takes them up between two batches. Changed files of several lanes come into force in this way alone; commands
    that change them, such as 'lists add' and 'models promote', do it by themselves. Exit status 1 where a lane did not
    take them up in time: it does when its worker comes to it.
    """
    states = session.project.lanes.tell()
    _answer(session, states)
    session.next("shroff lanes show")
    return 0 if _all_current(states) else 1


def _all_current(states: Sequence[LaneState]) -> bool:
    return all(one.is_current for one in states)


def _answer(session: Session, states: Sequence[LaneState]) -> None:
    rows = [
        (f"lane {one.number}", one.last_seq, "in force" if one.is_current else one.trouble or "another version")
        for one in states
    ]
    session.answer(
        {"lanes": [asdict(one) for one in states]},
        table(rows, ("", "places", "the project's files")),
    )
