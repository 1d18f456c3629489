"""Deployment: the result of a change of the active models, and the models as lists and details show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import field

from shroff.models.in_force import Promotion
from shroff.models.registry import GateResult, ModelSummary, Stored
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.texts import argument, many
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from collections.abc import Sequence


PROMOTED = "promoted"
REFUSED = "refused"
ROLLED_BACK = "rolled back"
IN_SHADOW = "in shadow"
OUT_OF_SHADOW = "out of shadow"
CHALLENGES = "challenges"
NO_CHALLENGER = "no longer challenges"
SAME = "same"


class Deployment(OperationAnswer):
    """The result of a change of the active models.

    `champion` and `before` are the champion's ids after and before the call, empty for none. `failed` are gates that
    prevent a promotion. `why_not` says why a written change is not active yet. `unused` says that the champion's score
    changes no decision, with the remedy.
    """

    event: str
    model: str
    what: str
    champion: str = ""
    before: str = ""
    failed: tuple[GateResult, ...] = ()
    in_force: bool = False
    why_not: str = ""
    unused: str = ""
    STATUS: ClassVar = "failed"

    @property
    def failure(self) -> str:
        return failure_of(self.failed)

    def text(self) -> str:
        if self.what == REFUSED:
            from shroff.models.evaluation.gates import gates_text

            return (
                f"{self.model} is not promoted: it fails {many(len(self.failed), 'gate')}.\n{gates_text(self.failed)}"
            )
        scores = f"{self.champion} scores {self.event}" if self.champion else f"rules alone decide {self.event}"
        summaries = {
            PROMOTED: f"{self.model} is the champion of {self.event}"
            + (f", replacing {self.before}." if self.before else "."),
            ROLLED_BACK: f"{self.before} is rolled back: {scores}.",
            IN_SHADOW: f"{self.model} is in shadow.",
            OUT_OF_SHADOW: f"{self.model} is out of shadow.",
            CHALLENGES: f"{self.model} challenges {self.champion}.",
            NO_CHALLENGER: f"{self.model} no longer challenges; {self.champion} scores all of {self.event}.",
            SAME: f"nothing changed; {self.model} already had this role.",
        }[self.what]
        active = "active from the next event" if self.in_force else f"not active: {self.why_not.rstrip('.')}"
        return f"{summaries} It is {active}." + (f"\n{self.unused}" if self.unused else "")

    def hints(self) -> Sequence[str]:
        if not self.failed:
            return "shroff models list", "shroff verify"
        id_, waived = argument(self.model), " ".join(f"--waive {argument(gate.words)}" for gate in self.failed)
        return f"shroff models show {id_}", f"shroff models promote {id_} {waived} --reason TEXT --by NAME"


class ListedModel(ModelSummary, frozen=True):
    """A model of the registry with its role: champion, challenger, shadow, before, or none.

    `redefined` names the inputs of one that scores which mean something else now than when it was trained; `unused`
    says of a champion that its score changes no decision, with the cure. `unwaived` are the failed gates, by name,
    that no promotion waived.
    """

    role: str = ""
    redefined: tuple[str, ...] = ()
    unused: str = ""
    unwaived: tuple[str, ...] = ()


class ModelDetails(FrozenStruct):
    """All facts about one model. `promotions` are those still in in_force.json.

    `redefined` names the inputs whose definition changed since training.
    """

    stored: Stored
    role: str = ""
    promotions: tuple[Promotion, ...] = field(default=())
    redefined: tuple[str, ...] = ()


def champion_then(stored: Stored) -> str | None:
    """Return the id of the champion that a model was judged against, empty for none; None if not recorded."""
    from shroff.models.evaluation.gates import (
        COMPARED_WITH,
    )  # imported here: its libraries load slowly, and lists of models need none

    if COMPARED_WITH not in stored.manifest:
        return None
    then = stored.manifest[COMPARED_WITH]
    return "" if then is None else str(then["id"])


def failure_of(failed: Sequence[GateResult]) -> str:
    return f"it failed {', '.join(dict.fromkeys(gate.name for gate in failed))}" if failed else ""
