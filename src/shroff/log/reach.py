"""How far back a version looks, and so from which day on it would be exact where the log does not reach back enough."""

from __future__ import annotations

from shroff.errors import PrunedError
from shroff.events.event import time_text
from shroff.language.expression import Aggregate, ItemFeature, Node, aggregates, walk
from shroff.language.values import DAY_MS
from shroff.project.definitions import Definitions, computed_of
from shroff.streams.log import Log


def reach_ms(definitions: Definitions) -> int | None:
    """How long ago an event may be that a value of this version depends on; None for ever.

    A value that is made of what a feature was at earlier events looks back as far as both together.
    """
    return _longest([one.node for one in computed_of(definitions)], definitions)


def _longest(nodes: list[Node], definitions: Definitions) -> int | None:
    found = 0
    for node in nodes:
        for aggregate in aggregates(node):
            if aggregate.over_ms is None:
                return None
            inside = _longest(_stacked(aggregate, definitions), definitions)
            if inside is None:
                return None
            found = max(found, aggregate.over_ms + aggregate.delay_ms + inside)
    return found


def _stacked(aggregate: Aggregate, definitions: Definitions) -> list[Node]:
    names = {part.name for part in walk(aggregate) if isinstance(part, ItemFeature)}
    return [definitions.features[name].node for name in names]


def lacking(error: PrunedError, log: Log, definitions: Definitions) -> PrunedError:
    """The error for a version whose state cannot be computed, since older events are not to be had."""
    back_ms = reach_ms(definitions)
    words = "This version's state is made of the whole log, so without the lake it cannot be computed"
    if back_ms is None:
        return PrunedError(log.place, error.upto, f"{words}: some of it looks back for ever")
    ((first,),) = log.read(error.upto, error.upto + 1)
    day = time_text(first.time_ms + back_ms + DAY_MS - 1)[:10]
    return PrunedError(log.place, error.upto, f"{words}; from what the store has it would be exact from {day} on")
