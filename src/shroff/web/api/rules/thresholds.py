"""Thresholds of the score: weighed by the costs of policy.yaml or by others, and put in force with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from shroff.app.models.cutoffs import AppliedCutoffs
from shroff.app.models.promotion import NoChampionError
from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.people.audit import AuditEntry
from shroff.people.store import AuditFilter as Acts
from shroff.people.store import PeopleStore
from shroff.runtime.memo import Fresh
from shroff.training.cutoffs import AS_IT_IS, Cutoffs, CutoffsDocument, WhatIf
from shroff.web.api.models import REASON_MAX, checked_reason
from shroff.web.http.messages import Json, Request, decoded, seen, tagged
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api
from shroff.web.http.schemas import Adopted

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.models.evaluation.cost_table import Cuts
    from shroff.project.policy import Policy
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 64 * 1024
KEPT: Final = 32  # answers, each some kilobytes: as one moves a slider to and fro
COST_MAX: Final = 1e9
APPLY: Final = "thresholds.apply"
ACTS_SHOWN: Final = 6
ACTS_FRESH_S: Final = 60.0
_AMOUNTS: Final = ("false_decline", "review", "reviews_a_day")
_CUTS: Final = ("review_at", "decline_at")


Cut = Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": 1})]


class NewCosts(msgspec.Struct, forbid_unknown_fields=True):
    """Costs to write beside the thresholds; `missed` is a percentage of what policy.yaml says now."""

    missed: float = 100
    false_decline: float | None = None
    review: float | None = None
    reviews_a_day: float | None = None


class NewCutoffs(msgspec.Struct, forbid_unknown_fields=True):
    """The new thresholds, null for none, the reason, and other costs to save in the same change."""

    reason: str
    review_at: Cut | None = None
    decline_at: Cut | None = None
    costs: NewCosts | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Thresholds as they were weighed, by which text of policy.yaml, and for which costs."""

    found: Cutoffs
    tag: str
    what_if: WhatIf


class Weighings:
    """Weighs for everybody who looks, one at a time, and keeps what it found: a large model takes seconds."""

    def __init__(self, project: Project) -> None:
        self._project, self._turn = project, asyncio.Lock()
        self._acts = Fresh[Sequence[AuditEntry]](KEPT)
        self._kept = Fresh[Cutoffs](KEPT)

    def look(self, event: str, model: str, what_if: WhatIf) -> Look:
        """The thresholds as policy.yaml is now; from any thread. Raises: UsageError as `ScoreCutoffs.thresholds`."""
        cutoffs = self._project.cutoffs
        tag = cutoffs.policy_tag
        in_force = ",".join(sorted(one.summary.id for one in self._project.models.all() if one.role))
        found = self._kept.get(
            (tag, event, in_force, model, what_if), lambda: cutoffs.thresholds(event, model=model, what_if=what_if)[0]
        )
        return Look(found, tag, what_if)

    async def weighed(self, service: Service, query: Mapping[str, str]) -> Look:
        """The thresholds that a query asks for; who waits for them waits in no thread."""
        what_if = what_if_of(query)
        async with self._turn:
            return await service.in_thread(self.look, query.get("event", ""), query.get("model", ""), what_if)

    def applied(self, store: PeopleStore, event: str, tag: str) -> Sequence[AuditEntry]:
        """The acts by which thresholds were put in force last, newest first.

        They are kept for a minute of the same policy.yaml: the record is asked by an act, and so read as a whole.
        """

        def recorded() -> Sequence[AuditEntry]:
            wanted = Acts(action=APPLY, subject=f"policy of {event}")
            with store.look() as look:
                return look.record(wanted, before=None, limit=ACTS_SHOWN, is_newest_first=True)

        return self._acts.get((event, tag), recorded, ACTS_FRESH_S)

    def forget_applied(self) -> None:
        """Ask the record again."""
        self._acts.forget()


# ---- for programs


async def thresholds(service: Service, request: Request) -> Json[CutoffsDocument]:
    """The cheapest thresholds, what they cost, and the curve."""
    try:
        found = await service.weighings.weighed(service, request.query_params)
    except NoChampionError as error:
        known = ", ".join(await service.in_thread(ids_of, service.project))
        cure = f"Name one of the registry as ?model=ID: {known}." if known else "There is none: train one first."
        raise UsageError(f"{error} {cure}") from None
    return Json(found.found.as_document(), headers=tagged(found.tag))


async def put_thresholds(service: Service, request: Request) -> Json[Adopted]:
    """Other thresholds for an event type."""

    async def there() -> str:
        return await service.in_thread(lambda: service.project.cutoffs.policy_tag)

    event, tag = request.path_params["event"], await seen(request, there)
    if not tag:
        words = "send the ETag of GET /api/v1/thresholds as If-Match"
        raise ProblemError(428, "no-precondition", "If-Match is missing", words)
    given = decoded(await request.body(BODY_BYTES_MAX), NewCutoffs)
    costs = {} if given.costs is None else msgspec.structs.asdict(given.costs)
    what_if = what_if_of({name: str(value) for name, value in costs.items() if value is not None})
    found = await put(
        service, request, AskedCutoffs(event, (given.review_at, given.decline_at), given.reason, tag, what_if=what_if)
    )
    now = await there()
    return Json({"in_force": found.in_force, "why_not": found.why_not or None}, headers=tagged(now))


@dataclass(frozen=True, slots=True)
class AskedCutoffs:
    """Thresholds that somebody wants active, by the text of policy.yaml that `tag` stands for, and costs with them."""

    event: str
    cuts: Cuts
    reason: str
    tag: str
    model: str = ""
    what_if: WhatIf = AS_IT_IS


async def put(service: Service, request: Request, asked: AskedCutoffs) -> AppliedCutoffs:
    """Write thresholds, and the costs of a what-if, as who asks.

    Raises: ProblemError with 404; UsageError, DefinitionError as `ScoreCutoffs.write`.
    """
    asked = replace(asked, reason=checked_reason(asked.reason))
    if asked.event not in service.project.definitions.events.decided:
        raise ProblemError(404, "no-event", "No such event type is decided", f"there is no decision of {asked.event!r}")
    if any(cut is not None and not 0 <= cut <= 1 for cut in asked.cuts):
        raise UsageError("a threshold is a score, from 0 to 1.")
    costs = service.project.cutoffs.costs
    given = {} if asked.what_if == AS_IT_IS else await service.in_thread(costs, asked.event, asked.what_if)
    return await _write(service, request, asked, given)


async def put_back(service: Service, request: Request, event: str, tag: str) -> AppliedCutoffs:
    """Undo the last change of thresholds, with its costs. Raises: UsageError where it is not what is active."""
    last = next(iter(await service.in_thread(service.weighings.applied, service.desk.store, event, tag)), None)
    if last is None or not (told := CutoffsChange.of(last)).can_be_undone(service.project.definitions.policy(event)):
        raise UsageError("the last change of thresholds cannot be undone: policy.yaml has others now.")
    why = f"Undo: {told.after.get('reason', '')}"[:REASON_MAX]
    return await _write(
        service, request, AskedCutoffs(event, told.cuts(told.before), why, tag), told.costs(told.before)
    )


async def _write(service: Service, request: Request, asked: AskedCutoffs, costs: Mapping[str, str]) -> AppliedCutoffs:
    write = service.project.acting_as(request.who).cutoffs.write
    found = await service.in_thread(
        lambda: write(asked.event, asked.cuts, costs, model=asked.model, reason=asked.reason, tag=asked.tag)
    )
    service.weighings.forget_applied()
    return found


@dataclass(frozen=True, slots=True)
class CutoffsChange:
    """A change of thresholds and costs as the audit log has it; older programs wrote `None` for no threshold."""

    before: Mapping[str, str]
    after: Mapping[str, str]

    @classmethod
    def of(cls, row: AuditEntry) -> CutoffsChange:
        """As a row has it."""
        before, after = (msgspec.json.decode(one or "{}", type=dict[str, str]) for one in (row.before, row.after))
        return cls(before, after)

    @staticmethod
    def cuts(told: Mapping[str, str]) -> Cuts:
        """The thresholds of one side."""
        review_at, decline_at = (told.get(name, "None") for name in _CUTS)
        return _score(review_at), _score(decline_at)

    @staticmethod
    def costs(told: Mapping[str, str]) -> dict[str, str]:
        """The costs of one side that changed."""
        return {name: told[name] for name in ("missed_fraud", *_AMOUNTS) if name in told}

    def can_be_undone(self, policy: Policy) -> bool:
        """Whether its thresholds are active, and each of its costs stood there before."""
        is_active = self.cuts(self.after) == (policy.review_at, policy.decline_at)
        return is_active and self.costs(self.after).keys() == self.costs(self.before).keys()


def _score(text: str) -> float | None:
    return None if text in {"", "None"} else float(text)


def ids_of(project: Project) -> list[str]:
    """The models that can be named where none is in force, the newest first."""
    return [one.summary.id for one in project.models.all()]


# ---- what is asked


def what_if_of(query: Mapping[str, str]) -> WhatIf:
    """Costs and thresholds to weigh by, as a form or a query names them. Raises: ProblemError for what is no number."""
    missed = _number(query, "missed", 1_000)
    amounts = {name: _number(query, name, COST_MAX) for name in _AMOUNTS}
    cuts: Cuts | None = None
    if query.get("use") or any(query.get(name, "").strip() for name in _CUTS):
        review_at, decline_at = (_number(query, name, 1) for name in _CUTS)
        if review_at is not None and decline_at is not None and review_at > decline_at:
            raise _unreadable("write review_at no higher than decline_at")
        cuts = review_at, decline_at
    if missed is None and cuts is None and all(amount is None for amount in amounts.values()):
        return AS_IT_IS
    return WhatIf(1.0 if missed is None else missed / 100, **amounts, cuts=cuts)


def _number(query: Mapping[str, str], name: str, most: float) -> float | None:
    text = query.get(name, "").strip()
    if not text:
        return None
    try:
        found = float(text) if len(text) < 40 and text.isascii() and "_" not in text else -1.0
    except ValueError:
        found = -1.0
    if not 0 <= found <= most:
        raise _unreadable(f"write {name} as a number from 0 to {most:,.10g}")
    return found


def _unreadable(words: str) -> ProblemError:
    return ProblemError(400, "bad-query", "The query cannot be read", words)


ROUTES: Final = (
    api("GET", "/thresholds", Right.READ_DEFINITIONS, thresholds)(
        "Compute the thresholds of the score with the lowest cost, as `shroff thresholds` does; other costs can be "
        "tried.",
        "Their cost, and the curve. The ETag is that of policy.yaml.",
        problems={400: "There is no model, or policy.yaml has no costs.", 404: "", 500: "", 503: ""},
        query={
            "event": "The event type, if several have a champion.",
            "model": "An inactive model.",
            "missed": "Cost of a missed fraud, in percent of the value in policy.yaml.",
            "false_decline": "Cost of a false decline.",
            "review": "Cost of a review.",
            "reviews_a_day": "Review capacity: reviews per day.",
            "review_at": "A review threshold to try.",
            "decline_at": "A decline threshold to try.",
        },
    ),
    api("PUT", "/thresholds/{event}", Right.SET_THRESHOLDS, put_thresholds)(
        "Write other thresholds, and costs, of an event type into policy.yaml; with a reason, which is recorded.",
        "Whether they are active in the log yet.",
        NewCutoffs,
        {404: "", 412: "policy.yaml has been changed since.", 428: "If-Match is missing."},
        headers={"If-Match": "The ETag of the version that you read."},
    ),
)
