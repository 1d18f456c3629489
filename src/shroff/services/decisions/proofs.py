"""Operations that prove decisions to others: the proof of one, and the signed head of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.events.hash_keys import key_for
from shroff.json_types import JsonObject
from shroff.operations.declaration import OperationRequest, Param, operation
from shroff.services.decisions.history import DecisionHistory
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from shroff.replay.proofs import LogHead, Mask, Proof, Sign

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


class LogProofs(ProjectPart):
    """Proofs of decisions, and heads of the log, signed with a key that is derived from the project's secret key."""

    history: DecisionHistory

    def prove(self, reference: str, since: int | None = None) -> Proof:
        from shroff.explain.explanation import definitions_at
        from shroff.log.decision_reference import find
        from shroff.replay.proofs import prove

        with self._log.reading() as log:
            row = find(log, self._definitions.events, reference)
            definitions = definitions_at(log, row.seq, self._registry.load)
            past = self.history.looked_back(log, row.seq)
            return prove(log, row, definitions, past, self._mask(), self._sign(), self._now(), self._model_files, since)

    def head(self, since: int | None = None) -> LogHead:
        from shroff.replay.proofs import Tree, head_of

        with self._log.reading() as log:
            tree = Tree(log, log.last_seq(), self._mask())
        return head_of(tree, self._definitions.settings.name, self._now(), self._sign(), since)

    def _now(self) -> str:
        return time_text(self._now_ms())

    def _key(self, purpose: str) -> bytes:
        return key_for(self._paths, purpose, self._log.refuse_a_second_key)

    def _mask(self) -> Mask:
        from shroff.replay.proofs import mask_with

        return mask_with(self._key("shroff proof mask 1"))

    def _sign(self) -> Sign:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError:
            raise UsageError(
                "a head is signed with the extra 'proof'. Install it: pip install 'shroff[proof]'"
            ) from None
        key = Ed25519PrivateKey.from_private_bytes(self._key("shroff head 1"))
        public = key.public_key().public_bytes_raw().hex()
        return lambda data: (public, key.sign(data).hex())

    def _model_files(self, id_: str) -> Iterator[tuple[str, str]]:
        """Yield the manifest of a model, in the bytes that its digest covers, and its own file."""
        from shroff.models.loaded import FILES
        from shroff.models.model import RUN, pretty

        stored = self._registry.read(id_)
        manifest = from_json(stored.manifest_bytes, type=JsonObject)
        name = FILES[manifest["format"]]
        yield "manifest.json", pretty({key: value for key, value in manifest.items() if key != RUN}).decode()
        yield name, stored.files[name].decode()


@operation("proof", right="read:decisions")
def prove_decision(proofs: LogProofs, request: ProveDecision) -> Proof:
    """Write a file with which others recompute a decision: its events, definitions, rows, model and path to a head.

    Hashed values are replaced, equal ones by the same. verify/verify.html and verify/cli.mjs read the file.

    Examples:
        shroff proof payment/p-1 > p-1.proof.json
        shroff proof payment/p-1 --since 40459 > p-1.proof.json
    """
    return proofs.prove(request.reference, request.since)


@operation("head", right="read:decisions")
def show_head(proofs: LogProofs, request: ShowHead) -> LogHead:
    """Print the signed head of the log: one hash over all its records. Keep it: a log rewritten later contradicts it.

    Examples:
        shroff head > head.json
        shroff head --since 40459
    """
    return proofs.head(request.since)
