"""Side effects of an answer: add keys to lists that block, and record a refund. Used by three kinds of pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.people.access import Right
from shroff.services.cases import side_effects
from shroff.services.cases.side_effects import CaseListEntry
from shroff.web.http.messages import Form, Request
from shroff.web.pages.rules.lists import LASTS, entry_of, standings

if TYPE_CHECKING:
    from shroff.web.service import Service

BLOCK = "block-"  # prefix of the form's fields for keys to block


def offer(service: Service, request: Request, about: Iterable[tuple[str, str]], form: Form) -> JsonObject:
    """Collect the lists that can block these keys of entities, with the form's values after a mistake. Reads lists."""
    project = service.project
    picked = _picked(form)
    blockable = [
        {"list": standing["name"], "entity": entity, "key": key, "is_picked": (standing["name"], key) in picked}
        for entity, key in dict.fromkeys(about)
        if entity in project.definitions.events.entities and request.who.may(Right.EDIT_LISTS)
        for standing in standings(project, entity, key)
        if standing["does"] == "Block" and standing["entry"] is None
    ]
    texts = {name: form[name] for name in ("note", "refund")}
    options = {"currency": service.cases.currency, "lasts": form.get("lasts", "30d"), "lasting": LASTS}
    return {"blockable": blockable, **texts, **options, "is_open": bool(picked or any(texts.values()))}


def also_from(service: Service, request: Request, form: Form) -> tuple[CaseListEntry, ...]:
    """Return the list entries that a form adds. Raises: UsageError; as `side_effects.checked`, also for the refund."""
    entries = []
    for name, value in _picked(form):
        entry = entry_of(service, request, Form({"lasts": "30d", **form, "value": value}))
        if name not in service.project.definitions.reference.lists:
            raise UsageError(f"There is no list {name}.")
        entries.append(CaseListEntry(name, entry.value, entry.note, entry.expires_at))
    acting = service.operations.acting(request.who)
    side_effects.checked(acting, service.cases, entries, form["refund"], form["reason"])
    return tuple(entries)


def _picked(form: Form) -> list[tuple[str, str]]:
    parts = [text.partition(":") for name, text in form.items() if name.startswith(BLOCK)]
    return [(name, value) for name, _, value in parts]
