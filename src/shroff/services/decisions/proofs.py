"""Operations that prove decisions to others: the proof of one, and the signed head of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.operations.declaration import OperationRequest, Param, operation
from shroff.services.decisions.history import DecisionHistory

if TYPE_CHECKING:
    from shroff.replay.proofs import LogHead, Proof

Since = Annotated[int, msgspec.Meta(ge=1)] | None


class ProveDecision(OperationRequest["Proof"]):
    """The decision to prove.

    Args:
        reference ([TYPE/]ID): The event.
        since (SIZE): The size of an earlier head: the file then shows that the log continues it.
    """

    reference: Annotated[str, Param(complete="references")]
    since: Since = None


class ShowHead(OperationRequest["LogHead"]):
    """The head to sign.

    Args:
        since (SIZE): The size of an earlier head: the answer then shows that the log continues it.
    """

    since: Since = None


@operation("proof", right="read:decisions")
def prove_decision(history: DecisionHistory, request: ProveDecision) -> Proof:
    """Write a file with which others recompute a decision: its events, definitions, rows, model and path to a head.

    Hashed values are replaced, equal ones by the same. verify/verify.html and verify/cli.mjs read the file.

    Examples:
        shroff proof payment/p-1 > p-1.proof.json
        shroff proof payment/p-1 --since 40459 > p-1.proof.json
    """
    return history.proof(request.reference, request.since)


@operation("head", right="read:decisions")
def show_head(history: DecisionHistory, request: ShowHead) -> LogHead:
    """Print the signed head of the log: one hash over all its records. Keep it: a log rewritten later contradicts it.

    Examples:
        shroff head > head.json
        shroff head --since 40459
    """
    return history.head(request.since)
