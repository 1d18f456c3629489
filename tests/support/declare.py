"""Event types for tests, from the text that a person would write."""

from __future__ import annotations

from shroff.errors import Problem
from shroff.events.definitions import Events
from shroff.events.loader import load_events
from shroff.language.yaml.text import read

PAYMENT = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text?
    amount: money?
    channel: choice(pos, web, atm)?
    colour: choice(red, ...)?
    points: integer?
    weight: number?
    two: number(2)?
    ratio: real?
    ok: boolean?
    wait: duration?
"""


def declare(text: str = PAYMENT, *, money_places: int = 2) -> Events:
    """Load the text of an events.yaml that has no mistakes."""
    problems: list[Problem] = []
    events = load_events(read(text, "events.yaml", problems), frozenset(), money_places, problems)

    assert problems == []
    return events
