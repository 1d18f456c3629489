"""A project file, spool.yaml: how many lines of each event type are expected."""

from __future__ import annotations

from shroff.errors import Problem
from shroff.plugins import loader
from shroff.plugins.loader import AddedFile, FileContext
from shroff.plugins.loader import YamlNode as Node
from shroff.plugins.settings import WHOLE, own_names


def load(node: Node | None, context: FileContext, problems: list[Problem]) -> dict[str, int]:
    top = loader.mapping(node, problems, "spool.yaml")
    expected = {}
    for key, value in top.entries if top else ():
        number = loader.scalar(value, problems, key.text)
        if key.text not in context.events.types:
            problems.append(key.problem(f"{key.text!r} is not an event type."))
        elif number is not None:
            expected[key.text] = int(number.text)
    return expected


SPOOL_FILE = AddedFile(
    "spool", "spool.yaml", "Lines that are expected, by event type.", own_names("event types with numbers", WHOLE), load
)
