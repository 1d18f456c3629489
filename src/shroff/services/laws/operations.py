"""Operation of `shroff prove`: the answer about each law of the project."""

from __future__ import annotations

from typing import Annotated

from shroff.errors import UsageError
from shroff.operations.declaration import LocalPath, OperationRequest, Param, operation
from shroff.project.definitions import Definitions
from shroff.rules.rule_tests import RuleTestForm, tests_of, with_tests
from shroff.services.drafts.operations import RuleDraftText, WriteDraft, write_draft
from shroff.services.laws.proofs import LawProofs, LawsProved, law_proved
from shroff.services.project import Project
from shroff.services.rules.files import ChangedMeanwhileError, NoRuleError


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


class WriteLawTest(OperationRequest[RuleDraftText]):
    """
    Args:
        law: The law.
        rule: The rule that should hit the event.
    """

    law: str
    rule: str


@operation(
    "prove test",
    right="edit:rules",
    http="POST /laws/{law}/test",
    has_command=False,
    refusals=(NoRuleError, ChangedMeanwhileError),
)
def write_law_test(
    project: Project, proofs: LawProofs, definitions: Definitions, request: WriteLawTest
) -> RuleDraftText:
    """Write the event that breaks a law as a test into a draft of a rule, which fails until the rule hits it."""
    for proof in proofs.prove():
        law = law_proved(proof, definitions)
        if law.id == request.law and law.events:
            return _write_test(project, request.rule, RuleTestForm(f"law {law.id}", law.events))
    raise UsageError(f"no event breaks a law {request.law!r}.")


def _write_test(project: Project, rule: str, test: RuleTestForm) -> RuleDraftText:
    draft = project.drafts.one(rule)
    current = draft or project.rules.standing(rule)
    if current is None:
        raise NoRuleError(f"there is no rule {rule!r}.")
    source = with_tests(current.text, [*(tests_of(current.text) or ()), test])
    request = WriteDraft(rule=rule, source=source, etag=draft.tag if draft else "")
    return write_draft(project.drafts, project.rules, project.agreements, project.people, request)
