"""Models: which are in force, how each was judged, and promoting, going back and shadow with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import Response

from shroff.errors import DefinitionError, StateError, UsageError
from shroff.people.access import Right
from shroff.web.api.models import ModelChange, changed, shown
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.rendering import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

NOTHING: Final[Mapping[str, str]] = {}
DONE: Final = {"done": "That is in force from the next event on.", "waits": "Written; it comes into force later."}


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric with the range in which it likely lies."""

    name: str
    mean: float
    low: float | None
    high: float | None


async def show(service: Service, request: Request) -> Response:
    """All models."""
    found = await service.in_thread(service.project.models.all)
    return page(service, request, "models.html", models=found)


async def show_one(service: Service, request: Request) -> Response:
    """One model."""
    return await _model(service, request)


async def change(service: Service, request: Request) -> Response:
    """Another role for a model."""
    form = await request.form()
    waive = [text for name, text in form.items() if name.startswith("waive_")]
    try:
        found = await changed(service, request, ModelChange(form.get("do", ""), form.get("reason", ""), waive))
    except (UsageError, DefinitionError, StateError) as error:
        return await _model(service, request, sentence(str(error)), form)
    if found.failed:
        return await _model(service, request, f"Not promoted: {found.failure}.", form)
    said = "done" if found.in_force else "waits"
    return see_other(f"/models/{quote(request.path_params['id'], safe='')}?said={said}")


async def _model(service: Service, request: Request, mistake: str = "", form: Mapping[str, str] = NOTHING) -> Response:
    found = await service.in_thread(shown, service.project, request.path_params["id"])
    stored = found.stored
    return page(
        service,
        request,
        "model.html",
        422 if mistake else 200,
        found=found,
        manifest=stored.manifest,
        inputs=[str(one.get("name", one)) for one in stored.manifest.get("inputs", ())],
        gates=stored.gates,
        measured=_measured(stored.metrics),
        may_change=request.who.may(Right.PROMOTE_MODELS),
        may_read_audit=request.who.may(Right.READ_AUDIT),
        mistake=mistake,
        reason=form.get("reason", ""),
        said=DONE.get(request.query_params.get("said", ""), ""),
    )


def _measured(metrics: Mapping[str, Any]) -> list[Measured]:
    """The metrics of the model itself that have a value."""
    found = metrics.get("metrics", {})
    return [
        Measured(name, one["mean"], one.get("low"), one.get("high"))
        for name, one in sorted(found.items())
        if isinstance(one, dict) and isinstance(one.get("mean"), int | float)
    ]


ROUTES: Final = (
    Route("GET", "/models", Right.READ_DEFINITIONS, show, is_page=True, screen=Screen("Models", 70)),
    Route("GET", "/models/{id}", Right.READ_DEFINITIONS, show_one, is_page=True),
    Route("POST", "/models/{id}", Right.PROMOTE_MODELS, change, is_page=True),
)
