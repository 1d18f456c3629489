"""Operation of `shroff prove`: the answer about each law of the project, and the gate of `shroff apply`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff import config
from shroff.errors import DefinitionError, Problem, UsageError
from shroff.language.values import show
from shroff.operations.declaration import LocalPath, OperationAnswer, OperationRequest, Param, operation
from shroff.project.definitions import Definitions
from shroff.project.laws import FOLDER, load_laws
from shroff.rules.rule_tests import RuleTestEvent, RuleTestForm, tests_of, with_tests, written_row
from shroff.services.backtest.operations import LogBacktests
from shroff.services.drafts.operations import WriteDraft, write_draft
from shroff.services.parts import ProjectPart
from shroff.services.project import Project
from shroff.services.project_files import FileVersions

if TYPE_CHECKING:
    from shroff.services.laws.proof import Proof

NO_SOLVER = "laws are proved by Z3, which is not installed: pip install 'shroff[prove]'"


class ProveLaws(OperationRequest["LawsProved"]):
    """
    Args:
        rules (DIR): A draft to prove them for: a folder of rules, as for `shroff backtest`.
        draft (RULE): Write the events of refuted laws as tests into a draft of this rule, which should hit them.
    """

    rules: LocalPath = None
    draft: Annotated[str, Param(is_local=True)] = ""


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

    def prove(self, rules: Path | None = None, *, required: bool = False) -> list[Proof]:
        """Prove laws of the project's files, or of a draft over them, beside the active policy.

        Raises: DefinitionError for mistakes in the laws; UsageError without the solver.
        """
        problems: list[Problem] = []
        new = self._definitions if rules is None else self._backtests.draft(rules=rules)[0]
        laws = load_laws(config.read_files(self._paths.folder, problems, (FOLDER,)), new, problems)
        if problems:
            raise DefinitionError(problems)
        chosen = [law for law in laws.values() if law.is_required or not required]
        if not chosen:
            return []
        try:
            from shroff.services.laws import proof
        except ImportError:
            raise UsageError(NO_SOLVER) from None
        old = self._versions.active() or self._definitions
        return [new.once(f"{law} {old.versions}", partial(proof.prove, law, new, old)) for law in chosen]

    def unproved(self, *, required: bool = False) -> list[Problem]:
        proofs = [proof for proof in self.prove(required=required) if proof.answer != "proved"]
        return [proof.law.place.problem(f"law {proof.law.id} is {proof.answer}.", proof.reason) for proof in proofs]


@operation("prove", right="read:definitions", http="GET /laws", unanswered="The laws cannot be proved")
def prove_laws(project: Project, proofs: LawProofs, definitions: Definitions, request: ProveLaws) -> LawsProved:
    """Prove the laws in laws/*.yaml for all events, or refute each by an event that breaks it.

    Exit status 1 if a law is refuted, or a required one is not proved.

    Examples:
        shroff prove
        shroff prove --rules drafts/
    """
    answers = list[LawProved]()
    for found in proofs.prove(request.rules):
        law = found.law
        events = [] if found.found is None else list(_events(found, definitions))
        answers.append(LawProved(law.id, law.sentence, law.is_required, found.answer, found.reason, events))
        if events and request.draft:
            _write_test(project, request.draft, RuleTestForm(f"law {law.id}", events))
    return LawsProved(laws=answers)


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


def _write_test(project: Project, rule: str, test: RuleTestForm) -> None:
    draft = project.drafts.one(rule)
    current = draft or project.rules.standing(rule)
    if current is None:
        raise UsageError(f"there is no rule {rule!r}.")
    source = with_tests(current.text, [*(tests_of(current.text) or ()), test])
    request = WriteDraft(rule=rule, source=source, etag=draft.tag if draft else "")
    write_draft(project.drafts, project.rules, project.agreements, project.people, request)
