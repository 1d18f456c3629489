"""Operation of `shroff drafts prove`: whether the draft of a rule loosens the policy, and the laws with it."""

from __future__ import annotations

from shroff.errors import DefinitionError, UsageError
from shroff.operations.declaration import OperationRequest, operation
from shroff.rules.texts import in_shadow
from shroff.services.drafts.draft_files import RuleDraftFiles
from shroff.services.laws.proofs import LawProofs, LawsProved, law_proved


class ProveDraft(OperationRequest[LawsProved]):
    """
    Args:
        rule: The rule.
    """

    rule: str


@operation("drafts prove", right="read:definitions", http="GET /rules/{rule}/draft/laws", is_check=True)
def prove_draft(drafts: RuleDraftFiles, proofs: LawProofs, request: ProveDraft) -> LawsProved:
    """Prove that a rule's draft, made active, loosens nothing of the active policy; and all laws with it.

    Where it loosens something, the events show one that gets a weaker outcome.

    Examples:
        shroff drafts prove many_payments
    """
    draft = drafts.one(request.rule)
    if draft is None:
        raise UsageError(f"there is no draft of {request.rule}.")
    checked = drafts.check(request.rule, in_shadow(draft.text, shadow=False))
    if checked.definitions is None:
        raise DefinitionError([*checked.mistakes, *checked.elsewhere])
    laws = proofs.prove(checked.definitions, rule=request.rule)
    return LawsProved(laws=[law_proved(proof, checked.definitions) for proof in laws])
