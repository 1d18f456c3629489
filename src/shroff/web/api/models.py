"""Active models over HTTP: promote, roll back and shadow, with the user and a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

import msgspec

from shroff.app.models.promotion import Deployment, ModelDetails
from shroff.errors import UsageError
from shroff.models.in_force import Promotion
from shroff.models.registry import GateResult
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 64 * 1024
REASON_MAX: Final = 1_000


class ModelChange(msgspec.Struct, forbid_unknown_fields=True):
    """A change of a model: `promote`, `shadow`, `unshadow` or `rollback`, and the reason. `waive` lists gates to waive,
    each by metric and limit.
    """

    do: str
    reason: str
    waive: list[str] = []


class Model(TypedDict):
    """One model with all its details."""

    id: str
    event: str
    role: str
    digest: str
    gates: list[GateResult]
    metrics: Annotated[
        dict[str, Any],
        msgspec.Meta(description="`metrics.json`, see the reference of metrics. Slices have `words`."),
    ]
    promotions: list[Promotion]
    manifest: Annotated[dict[str, Any], msgspec.Meta(description="`manifest.json`: how the model was made.")]
    redefined: list[str]


async def one_model(service: Service, request: Request) -> Json[Model]:
    """Everything that is known of one model."""
    from shroff.training.measured import slices_told  # its libraries take time that lists of models need not

    found = await service.in_thread(shown, service.project, request.path_params["id"])
    metrics = slices_told(service.project.definitions, found.stored.event, found.stored.metrics)
    return Json(
        {
            "id": found.stored.id,
            "event": found.stored.event,
            "role": found.role,
            "digest": found.stored.digest,
            "gates": list(found.stored.gates),
            "metrics": metrics,
            "promotions": list(found.promotions),
            "manifest": found.stored.manifest,
            "redefined": list(found.redefined),
        }
    )


async def change_model(service: Service, request: Request) -> Json[Deployment]:
    """Another role for a model."""
    given = decoded(await request.body(BODY_BYTES_MAX), ModelChange)
    found = await changed(service, request, given)
    return Json(found, 409 if found.failed else 200)


def shown(project: Project, id_: str) -> ModelDetails:
    """A model. Raises: ProblemError with 404 where there is none."""
    if id_ not in {one.summary.id for one in project.models.all()}:
        raise ProblemError(404, "no-model", "There is no such model", f"there is no model {id_!r}")
    return project.models.one(id_)


def checked_reason(text: str) -> str:
    """Why something is done, as the record keeps it. Raises: UsageError where nothing is said, or too much."""
    reason = text.strip()
    if not reason or len(reason) > REASON_MAX or not reason.isprintable():
        raise UsageError(f"say why, on one line of {REASON_MAX:,} characters at most.")
    return reason


async def changed(service: Service, request: Request, given: ModelChange) -> Deployment:
    """Do it as who asks, with the reason in the record. Raises: UsageError where it cannot be done."""
    reason, id_ = checked_reason(given.reason), request.path_params["id"]
    found = await service.in_thread(shown, service.project, id_)
    project = service.project.acting_as(request.who)
    do = _action(project, given.do, found, reason, given.waive, request.who.name)
    await service.recorded(Act(request.who, "model.ask", f"model {id_}", None, {"do": given.do, "reason": reason}))
    return await service.in_thread(do)


def _action(
    project: Project, what: str, found: ModelDetails, reason: str, waive: Sequence[str], by: str
) -> Callable[[], Deployment]:
    id_ = found.stored.id
    match what:
        case "promote":
            return lambda: project.models.promote(id_, waive=waive, reason=reason if waive else "", by=by)
        case "shadow" | "unshadow":
            return lambda: project.models.shadow(id_, stop=what == "unshadow")
        case "rollback":
            if found.role != "champion":
                raise UsageError(f"{id_} is not the champion; only the champion can be rolled back.")
            return lambda: project.models.rollback(found.stored.event)
    raise UsageError("do: it is promote, shadow, unshadow or rollback.")


ROUTES: Final = (
    api("GET", "/models/{id}", Right.READ_DEFINITIONS, one_model)(
        "Get one model: its gates, metrics, promotions and manifest.", "The model.", problems={404: ""}
    ),
    api("POST", "/models/{id}", Right.PROMOTE_MODELS, change_model)(
        "Promote a model, roll it back, put it in shadow or take it out; with a reason, which is recorded.",
        "The result, and whether it is active in the log yet.",
        ModelChange,
        {404: ""},
        others={409: ("The model fails gates that are not waived; the problem names them.", Deployment)},
    ),
)
