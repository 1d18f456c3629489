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
    """Manage lanes: several logs over the partitions of one topic, each with its own worker.

    'lanes' and 'key' under 'source: kafka:' in shroff.yaml set their number and the entity that assigns messages to
    lanes. All lanes use the same definitions, which change together.
    """


lanes.examples = ("shroff lanes show", "shroff lanes tell")


@command("show", "shroff lanes show", "shroff lanes show --json", group=lanes)
def show(session: Session) -> int:
    """Show for each lane how far its log is, and whether the project's files are active in it."""
    states = session.project.lanes.states()
    _answer(session, states)
    is_begun = all(state.versions is not None for state in states)
    session.next("shroff run" if not is_begun else "shroff verify" if _all_current(states) else "shroff lanes tell")
    return 0


@command("tell", "shroff lanes tell", group=lanes)
def tell(session: Session) -> int:
    """Make the project's files active in all lanes, in one transaction.

    Each lane switches between two batches. With several lanes, changed files become active only this way; commands
    that change them, such as 'lists add' and 'models promote', do it themselves. Exit status 1 if a lane has not
    switched in time; it switches when its worker gets to it.
    """
    states = session.project.lanes.tell()
    _answer(session, states)
    session.next("shroff lanes show")
    return 0 if _all_current(states) else 1


def _all_current(states: Sequence[LaneState]) -> bool:
    return all(state.is_current for state in states)


def _answer(session: Session, states: Sequence[LaneState]) -> None:
    rows = [
        (f"lane {state.number}", state.last_seq, "active" if state.is_current else state.trouble or "another version")
        for state in states
    ]
    session.answer(
        {"lanes": [asdict(state) for state in states]},
        table(rows, ("", "places", "the project's files")),
    )
