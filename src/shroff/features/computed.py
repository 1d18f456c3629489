"""What an engine is asked to compute: features, and the conditions that rules add to them."""

from __future__ import annotations

from dataclasses import dataclass

from shroff.language.expression import Node


@dataclass(frozen=True, slots=True)
class Computed:
    """A named expression with the event types at which it is computed.

    A feature needs its entity's key and is missing without it; a rule's condition does
    not. With `rule`, `since flag` means the hits of that rule, and a true value at an
    event before `expires_ms` is a hit.
    """

    name: str
    node: Node
    entity: str
    events: frozenset[str]
    needs_key: bool = True
    rule: str | None = None
    expires_ms: int | None = None
