"""Operations on decisions: replay one, or verify the whole log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.operations.declaration import OperationRequest, Param, ProgressSteps, ReportAnswer, operation
from shroff.runtime.texts import many, one_line
from shroff.services.decisions.history import DecisionHistory
from shroff.services.project_log import ProjectLog

if TYPE_CHECKING:
    from shroff.replay.compare import Mismatch, Verification
    from shroff.replay.decision_replay import Replay
    from shroff.replay.proofs import LogHead, Proof


class ReplayDecision(OperationRequest["Replay"]):
    """
    Args:
        reference ([TYPE/]ID): The event.
        is_full: Read the whole log before the event.
    """

    reference: Annotated[str, Param(complete="references")]
    is_full: Annotated[bool, Param(flags="--full")] = False


@operation("replay", right="read:decisions")
def replay_decision(history: DecisionHistory, request: ReplayDecision) -> Replay:
    """Compute one decision again from the log with the definitions active then, and compare every byte.

    Without --full only the earlier events of its keys are read where that gives the same bytes.

    Examples:
        shroff replay p-1
        shroff replay payment/p-1 --json
    """
    return history.replay(request.reference, is_full=request.is_full).document()


class VerifyLog(OperationRequest["VerifiedLog"]):
    """
    Args:
        engines: online: all decisions. batch: all features and most hits. naive: features of a sample, by the
            definition.  [default: online,batch,naive; without batch with --last]
        sample: Events for the naive engine.  [default: 200, and fewer where they take longer than 5 s]
        last (N): Compare only the last N sequence numbers; earlier events are read, and not compared.
    """

    engines: Annotated[str | None, Param(complete="engines")] = None
    sample: Annotated[int, msgspec.Meta(ge=1)] | None = None
    last: Annotated[int, msgspec.Meta(ge=1)] | None = None


class VerifiedLog(ReportAnswer["tuple[Verification, VerifyLog]"]):
    """How many events were computed again, and what differs from the log; `unread` is what could not be compared.

    Of the `undecided`, events that were taken without a decision, nothing was compared.
    """

    events: int
    undecided: int
    mismatches: int
    first_mismatch: Mismatch | None
    unread: list[str]
    seconds: float

    def text(self) -> str:
        from shroff.replay.verification import engines_for

        verification, request = self.report
        names, counts = (
            ", ".join(engines_for(request.engines, request.last)),
            many(self.mismatches, "mismatch", "mismatches"),
        )
        text = f"{many(self.events, 'event')} recomputed by {names} in {self.seconds:.1f} s: {counts}."
        compared, decided = verification.sampled
        if compared < decided:
            text += f"\nBy their definition {compared:,} of {decided:,}; all of them: --sample {decided}."
        if not self.events and not self.unread:
            where = "the log has none" if request.last is None else "none is at these sequence numbers"
            text = f"No decision was compared: {where}."
        if self.undecided:
            were = many(self.undecided, "event was", "events were")
            text += f"\n{were} taken without a decision: nothing was compared."
        if (first := self.first_mismatch) is not None:
            text += f"\nThe first: {first.event} {one_line(first.id)}, seq {first.seq:,}, engine {first.engine}."
            text += f"\nrecorded: {one_line(first.recorded)}\ncomputed: {one_line(first.computed)}"
        return "\n".join([text, *self.unread])

    def hints(self) -> Sequence[str]:
        return ["shroff doctor" if self.exit_status() else "shroff export decisions"]

    def exit_status(self) -> int:
        if self.mismatches:
            return 1
        return 3 if self.unread else 0


@operation("verify", right="read:decisions")
def verify_log(history: DecisionHistory, log: ProjectLog, progress: ProgressSteps, request: VerifyLog) -> VerifiedLog:
    """Compute the whole log again through the engines, and compare features, decisions and receipts.

    Exit status 1 on a mismatch, 3 if a part of the log could not be compared.

    Examples:
        shroff verify
        shroff verify --engines naive --sample 500
        shroff verify --last 1000000
    """
    from shroff.replay.verification import engines_for

    began, names, total = time.monotonic(), engines_for(request.engines, request.last), 0
    if log.exists():
        with log.reading() as reader:
            total = len(names) * reader.last_seq()
    counted = progress.counting("computing, events", total)
    verification: Verification = history.verify(names, request.sample, counted, last=request.last)
    return VerifiedLog(
        events=verification.events,
        undecided=verification.undecided,
        mismatches=verification.mismatches,
        first_mismatch=verification.first_mismatch,
        unread=verification.unread,
        seconds=round(time.monotonic() - began, 3),
    ).about((verification, request))


class ProveDecision(OperationRequest["Proof"]):
    """
    Args:
        reference ([TYPE/]ID): The event.
        since (SIZE): The size of an earlier head: the file then shows that the log continues it.
    """

    reference: Annotated[str, Param(complete="references")]
    since: Annotated[int, msgspec.Meta(ge=1)] | None = None


@operation("proof", right="read:decisions")
def prove_decision(history: DecisionHistory, request: ProveDecision) -> Proof:
    """Write a file with which others recompute a decision, without hashed values: verify/verify.html checks it.

    Examples:
        shroff proof payment/p-1 > p-1.proof.json
        shroff proof payment/p-1 --since 40459 > p-1.proof.json
    """
    return history.proof(request.reference, request.since)


class ShowHead(OperationRequest["LogHead"]):
    pass


@operation("head", right="read:decisions")
def show_head(history: DecisionHistory, request: ShowHead) -> LogHead:
    """Print the signed head of the log, one hash over all its records. A log rewritten later contradicts it.

    Examples:
        shroff head > head.json
    """
    return history.head()
