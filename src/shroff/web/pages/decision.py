"""One decision: what was decided, why, against what is normal, and whether the log gives the same bytes again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import Response

from shroff.explain.entities import fields_of
from shroff.explain.explanation import Explained, FeatureLine, RuleLine
from shroff.people.access import Right
from shroff.web.api import override
from shroff.web.api.reading import row_of
from shroff.web.http.messages import Request
from shroff.web.http.routes import API, Route
from shroff.web.pages.charts.strips import Strip, strip_between, strip_of
from shroff.web.pages.rendering import page
from shroff.web.pages.words import signed

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.events.definitions import EventType
    from shroff.web.service import Service

REASONS_SHOWN: Final = 8
MONEY: Final = "money"


@dataclass(frozen=True, slots=True)
class Why:
    """One reason: a sentence, its code, what is normal, and what it did."""

    text: str
    code: str
    normal: str
    strip: Strip | None
    effect: str
    towards: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A key of an entity that the event is about, with the address of its page."""

    entity: str
    key: str
    path: str


@dataclass(frozen=True, slots=True)
class Looked:
    """What the page shows of a decision; `fields` as the log stores them, without those that name and place it."""

    explained: Explained
    at_ms: int
    fields: Mapping[str, Any]
    amount: str
    currency: str
    subjects: Sequence[Subject]
    whys: Sequence[Why]

    @property
    def hits(self) -> list[RuleLine]:
        return [one for one in self.explained.explanation.rules if one.result != "no hit"]

    @property
    def misses(self) -> int:
        return len(self.explained.explanation.rules) - len(self.hits)


async def show(service: Service, request: Request) -> Response:
    """The page of a decision."""
    row = await service.in_thread(row_of, service.project, request.path_params["event"], request.path_params["id"])
    found = await service.in_thread(looked, service.project, row.event, row.id)
    answered = await service.in_thread(override.answer, service, row.event, row.id)
    document, api = found.explained.document, API + decision_path(row.event, row.id)
    return page(service, request, "decision.html", found=found, document=document, row=row, api=api, answered=answered)


def looked(project: Project, event: str, id_: str) -> Looked:
    """What the page shows of a decision. Raises: UsageError where there is none."""
    explained = project.explain(f"{event}/{id_}")
    with project.opened.reading() as log:
        record = log.find(event, [id_])[id_]
    type_ = project.definitions.events.types.get(event)
    fields = fields_of(record)
    amount = _amount(type_, fields)
    settings = project.definitions.settings
    hidden = {type_.id_field, type_.time_field} if type_ is not None else set[str]()
    shown = {name: value for name, value in fields.items() if name not in hidden}
    subjects = _subjects(explained.explanation.features)
    return Looked(explained, record.time_ms, shown, amount, settings.currency, subjects, _whys(explained))


def _amount(type_: EventType | None, fields: Mapping[str, Any]) -> str:
    """The event's first field of money, as text; empty where it has none."""
    for one in type_.fields if type_ is not None else ():
        if one.type.kind == MONEY and fields.get(one.name) is not None:
            return str(fields[one.name])
    return ""


def _subjects(features: Sequence[FeatureLine]) -> list[Subject]:
    keys = {one.entity: one.key for one in features if one.key is not None}
    return [Subject(entity, key, entity_path(entity, key)) for entity, key in keys.items()]


def entity_path(entity: str, key: str) -> str:
    """The address of the page of a key."""
    return f"/entities/{quote(entity, safe='')}/{quote(key, safe='')}"


def decision_path(event: str, id_: str) -> str:
    """The address of the page of a decision."""
    return f"/decisions/{quote(event, safe='')}/{quote(id_, safe='')}"


def _whys(explained: Explained) -> list[Why]:
    """Rules first, then what the model saw, the strongest first."""
    features = {one.name: one for one in explained.explanation.features}
    found = [
        Why(str(one["text"]), str(one["code"]), "", None, str(one["effect"]), "rule")
        for one in explained.document["reasons"]
        if one["kind"] == "rule"
    ]
    for reason in explained.reasons[:REASONS_SHOWN]:
        line = features.get(reason.code)
        usual = None if line is None else line.earlier
        strip = None if line is None else strip_of(line.value, usual)
        if strip is None and reason.held is not None:  # a field of the event, or too little of this key
            strip = strip_between(*reason.held)
        text, _, normal = reason.text.partition(", normally ")
        towards = "to fraud" if reason.contribution > 0 else "to genuine"
        found.append(Why(text, reason.code, normal, strip, signed(reason.contribution), towards))
    return found


ROUTES: Final = (Route("GET", "/decisions/{event}/{id}", Right.READ_DECISIONS, show, is_page=True),)
