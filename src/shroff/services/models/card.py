"""Model card: one page about a model, from its folder and the control events of the log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shroff.events.event import time_text
from shroff.log.history import Control
from shroff.models.in_force import FILE, InForce, Promotion, read_in_force, role_of
from shroff.models.reports.html import card_page
from shroff.training.measured import facts_of, slices_told

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.models.deployment import ModelDetails
    from shroff.streams.log import Record


def card_of(details: ModelDetails, now: InForce, controls: Sequence[Record], definitions: Definitions) -> str:
    """Render the card as one HTML page. `now` has the roles in the file, which may be ahead of the log."""
    stored, control = details.stored, Control()
    roles: list[tuple[Any, ...]] = []
    before: tuple[str, Promotion | None] = "", None
    for record in (*controls, None):
        logged_roles = now
        if record is not None:
            control.take(record, FILE)
            logged_roles = read_in_force(control.files.get(FILE), []).get(stored.event, InForce())
        role = role_of(logged_roles, stored.id)
        after = role, logged_roles.champion if role == "champion" else None
        if after != before:
            roles.append((*after, record and (time_text(record.time_ms), record.seq)))
        before = after
    facts: list[tuple[str, str]] = []
    with suppress(KeyError):  # an imported model has fewer facts
        facts = facts_of(stored.manifest)
    return card_page(
        f"Model card {stored.id}",
        project=definitions.settings.name,
        stored=stored,
        metrics=slices_told(definitions, stored.event, stored.metrics),
        facts=facts,
        roles=roles,
    )
