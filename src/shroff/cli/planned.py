"""Commands whose names are taken and which are not there yet: each says so."""

from __future__ import annotations

from typing import Any

import click

from shroff.cli.session import ExampleCommand, Session, json_option
from shroff.errors import NotThereYetError


def planned(name: str, words: str) -> click.Command:
    """A command that answers in one sentence that it is not there yet."""

    def answer(session: Session, arguments: Any) -> None:
        raise NotThereYetError(f"'shroff {name}'")

    arguments = click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    settings = {"ignore_unknown_options": True}
    made = click.command(name, cls=ExampleCommand, help=f"Not there yet: {words}.", context_settings=settings)
    command = made(json_option(arguments(click.pass_obj(answer))))
    command.examples = (f"shroff {name}",)
    return command
