"""A project file, spool.yaml, and a key of shroff.yaml: how many lines of each event type are expected."""

from __future__ import annotations

from shroff.errors import Problem
from shroff.plugins import loader
from shroff.plugins.loader import AddedFile, AddedKey, FileContext
from shroff.plugins.loader import YamlNode as Node
from shroff.plugins.settings import WHOLE, Key, own_names


def load(node: Node | None, context: FileContext, problems: list[Problem]) -> dict[str, int]:
    top = loader.mapping(node, problems, "spool")
    expected = {}
    for key, value in top.entries if top else ():
        number = loader.scalar(value, problems, key.text)
        if key.text not in context.events.types:
            problems.append(key.problem(f"{key.text!r} is not an event type."))
        elif number is not None:
            expected[key.text] = int(number.text)
    return expected


MEANING, SHAPE = "Lines that are expected, by event type.", own_names("event types with numbers", WHOLE)
SPOOL_FILE = AddedFile("spool", "spool.yaml", MEANING, SHAPE, load)
SPOOL_KEY = AddedKey(Key("spool", MEANING, SHAPE), load)
