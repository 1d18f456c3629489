"""Operation of `shroff prove`: the answer about each law of the project."""

from __future__ import annotations

from typing import Annotated

from shroff.errors import UsageError
from shroff.operations.declaration import LocalPath, OperationRequest, Param, operation
from shroff.project.definitions import Definitions
from shroff.rules.rule_tests import RuleTestForm, tests_of, with_tests
from shroff.services.drafts.operations import WriteDraft, write_draft
from shroff.services.laws.proofs import LawProofs, LawsProved, law_proved
from shroff.services.project import Project


class ProveLaws(OperationRequest[LawsProved]):
    """
    Args:
        rules (DIR): A draft to prove them for: a folder of rules, as for `shroff backtest`.
        draft (RULE): Write the events of refuted laws as tests into a draft of this rule, which should hit them.
    """

    rules: LocalPath = None
    draft: Annotated[str, Param(is_local=True)] = ""


@operation("prove", right="read:definitions", http="GET /laws", unanswered="The laws cannot be proved")
def prove_laws(project: Project, proofs: LawProofs, definitions: Definitions, request: ProveLaws) -> LawsProved:
    """Prove the laws in laws/*.yaml for all events, or refute each by an event that breaks it.

    Exit status 1 if a law is refuted, or a required one is not proved.

    Examples:
        shroff prove
        shroff prove --rules drafts/
    """
    answers = [law_proved(proof, definitions) for proof in proofs.prove(request.rules)]
    for law in answers:
        if law.events and request.draft:
            _write_test(project, request.draft, RuleTestForm(f"law {law.id}", law.events))
    return LawsProved(laws=answers)


def _write_test(project: Project, rule: str, test: RuleTestForm) -> None:
    draft = project.drafts.one(rule)
    current = draft or project.rules.standing(rule)
    if current is None:
        raise UsageError(f"there is no rule {rule!r}.")
    source = with_tests(current.text, [*(tests_of(current.text) or ()), test])
    request = WriteDraft(rule=rule, source=source, etag=draft.tag if draft else "")
    write_draft(project.drafts, project.rules, project.agreements, project.people, request)
