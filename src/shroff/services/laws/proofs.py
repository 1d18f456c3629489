"""Proofs of the project's laws, the answers about them, and the gate of `shroff apply` and of a draft's last step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shroff import config
from shroff.errors import DefinitionError, Problem, UsageError
from shroff.language.values import show
from shroff.language.yaml.nodes import Scalar
from shroff.operations.declaration import OperationAnswer
from shroff.project.definitions import Definitions
from shroff.project.laws import FOLDER, LOOSENS_NOTHING, Law, load_laws
from shroff.rules.rule_tests import RuleTestEvent, written_row
from shroff.services.backtest.operations import LogBacktests
from shroff.services.parts import ProjectPart
from shroff.services.project_files import FileVersions

if TYPE_CHECKING:
    from shroff.services.laws.proof import Proof

NO_SOLVER = "laws are proved by Z3, which is not installed: pip install 'shroff[prove]'"


class LawProved(msgspec.Struct):
    """The answer about a law: proved, refuted or unknown. `events` end with the one that breaks it."""

    id: str
    sentence: str
    required: bool
    answer: str
    reason: str
    events: list[RuleTestEvent]

    @property
    def rows(self) -> list[str]:
        return [written_row(event) for event in self.events]

    def lines(self) -> Iterator[str]:
        yield f"{self.answer:8} {self.id}: {self.sentence}"
        if self.reason:
            yield f"         {self.reason}"
        yield from (f"         - {row}" for row in self.rows)


class LawsProved(OperationAnswer):
    """The answers about laws, in the order of the files."""

    laws: list[LawProved]

    def text(self) -> str:
        return "\n".join(line for law in self.laws for line in law.lines()) or f"There is no law in {FOLDER}."

    def exit_status(self) -> int:
        return int(any(law.answer == "refuted" or (law.required and law.answer != "proved") for law in self.laws))


class LawProofs(ProjectPart):
    """Proofs of the project's laws."""

    _backtests: LogBacktests
    _versions: FileVersions

    def prove(self, draft: Path | Definitions | None = None, *, required: bool = False, rule: str = "") -> list[Proof]:
        """Prove laws of the project's files, or of a draft over them, beside the active policy.

        Args:
            draft: A folder of rules, or the definitions with a draft.
            required: Only laws that are required.
            rule: A changed rule; the first law is that no event of its type gets a weaker outcome.

        Raises: DefinitionError for mistakes in the laws; UsageError without the solver.
        """
        problems: list[Problem] = []
        new = self._backtests.draft(rules=draft)[0] if isinstance(draft, Path) else draft or self._definitions
        laws = load_laws(config.read_files(self._paths.folder, problems, (FOLDER,)), new, problems)
        if problems:
            raise DefinitionError(problems)
        chosen = [law for law in laws.values() if law.is_required or not required]
        place = Scalar(LOOSENS_NOTHING, 1, 1, "", f"drafts/{rule}.yaml", "plain", None)
        changed = [each.on for each in new.rules if each.id == rule]
        chosen[:0] = [Law(place, "The draft loosens nothing.", on, draft=LOOSENS_NOTHING) for on in changed]
        if not chosen:
            return []
        try:
            from shroff.services.laws import proof
        except ImportError:
            raise UsageError(NO_SOLVER) from None
        old = self._versions.active() or self._definitions
        return [new.once(f"{law} {old.versions}", partial(proof.prove, law, new, old)) for law in chosen]

    def unproved(self) -> list[Problem]:
        return [_problem(proof) for proof in self.prove() if proof.answer != "proved"]

    def require(self, draft: Definitions | None = None) -> None:
        """Raises: DefinitionError if a required law is not proved."""
        proofs = [proof for proof in self.prove(draft, required=True) if proof.answer != "proved"]
        if proofs:
            raise DefinitionError([_problem(proof) for proof in proofs])


def _problem(proof: Proof) -> Problem:
    return proof.law.place.problem(f"law {proof.law.id} is {proof.answer}.", proof.reason)


def law_proved(proof: Proof, definitions: Definitions) -> LawProved:
    """Return the answer about a law, with the values of its events as rule tests write them."""
    law = proof.law
    events = [] if proof.found is None else list(_events(proof, definitions))
    return LawProved(law.id, law.sentence, law.is_required, proof.answer, proof.reason, events)


def _events(found: Proof, definitions: Definitions) -> Iterator[RuleTestEvent]:
    events = found.found.events if found.found else []
    for number, event in enumerate(events, start=1):
        type_ = definitions.events.types[event.type]
        names = {type_.time_field: "at"}
        values = {
            names.get(field.name, field.name): show(value, field.type, definitions.settings.money_places)
            for field, value in zip(type_.fields, event.values, strict=True)
            if value is not None and field.name != type_.id_field
        }
        hits = "true" if number == len(events) else "false"
        yield RuleTestEvent(event.type, values, hits if event.type == found.law.on else "")
