"""Decision history: explanations, replays, and verification of the log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.events.hash_keys import key_for
from shroff.runtime.entry_points import entries
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from shroff.explain.entities import EntityLook
    from shroff.explain.explanation import Explained
    from shroff.explain.model import ModelReason
    from shroff.features.cluster.partitioned import Cluster
    from shroff.replay.compare import Verification
    from shroff.replay.decision_replay import Replayed
    from shroff.replay.proofs import LogHead, Mask, Proof, Signing
    from shroff.runtime.progress import Progress
    from shroff.streams.log import Log, Record


class DecisionHistory(ProjectPart):
    """Explanations, replays and verification of the log. Each call reads the current log."""

    def replay(self, reference: str, *, is_full: bool = False) -> Replayed:
        """Replay a decision: return the recorded one, and the one computed again from the log.

        It reads the records that the decision can depend on. If these are unknown, do not yield the recorded bytes, or
        with `is_full`, it reads the whole log before the event.
        """
        from shroff.log.decision_reference import find
        from shroff.replay.decision_replay import Replayed, replay

        with self._log.reading() as log:
            row = find(log, self._definitions.events, reference)
            load = self._registry.load
            past = None if is_full else self.looked_back(log, row.seq)
            if past is not None:
                replayed = Replayed(row, replay(log, row.seq, load, past))
                if replayed.match:
                    return replayed
            return Replayed(row, replay(log, row.seq, load))

    def explain(self, reference: str, progress: Progress | None = None) -> Explained:
        """Explain a decision: its features beside the entity's earlier values, and its rules in words."""
        from shroff.explain.explanation import explain
        from shroff.log.decision_reference import find

        with self._log.reading() as log:
            row = find(log, self._definitions.events, reference)
            return explain(log, row, progress, self._registry.load)

    def first_reason(self, event: str, id_: str) -> ModelReason | None:
        """Return the first reason of a decision; None if it has none. Raises: as `explain`."""
        from shroff.explain.explanation import first_reason
        from shroff.log.decision_reference import find

        reference = f"{event}/{id_}"
        with self._log.reading() as log:
            row = find(log, self._definitions.events, reference)
            return first_reason(log, row, self._registry.load)

    def verify(
        self,
        engines: str | Sequence[str] | None = None,
        sample: int | None = None,
        progress: Progress | None = None,
        *,
        last: int | None = None,
    ) -> Verification:
        """Compute the log again through the engines and compare (see `replay.verification`).

        Args:
            engines: Names among `known_engines`; by default all, but not `batch` if `last` is given.
            last: Compare only this many of the last sequence numbers.

        Raises: UsageError for an unknown engine, or `batch` with `last`, since it computes the whole log.
        """
        from shroff.replay.verification import LONG, engines_for, verify

        names = engines_for(engines, last)
        if sample is not None and sample < 1:
            raise UsageError(f"a sample must have at least 1 event, not {sample}.")
        with self._log.reading() as log:
            load = self._registry.load
            look_back = partial(self.looked_back, log, most=LONG)
            return verify(log, names, sample, progress, load, last=last, look_back=look_back)

    def looked_back(self, log: Log, seq: int, most: int | None = None) -> Sequence[Record] | None:
        """Return the earlier records that a decision can depend on, as `key_events.looked_back` does."""
        from shroff.explain import key_events
        from shroff.explain.explanation import definitions_at

        definitions = definitions_at(log, seq, self._registry.load)
        return key_events.looked_back(log, definitions, seq, most or key_events.MOST)

    def proof(self, reference: str, since: int | None = None) -> Proof:
        """Prove a decision (see `replay.proofs`)."""
        from shroff.explain.explanation import definitions_at
        from shroff.log.decision_reference import find
        from shroff.replay.proofs import prove

        with self._log.reading() as log:
            row = find(log, self._definitions.events, reference)
            definitions = definitions_at(log, row.seq, self._registry.load)
            past = self.looked_back(log, row.seq)
            return prove(log, row, definitions, past, self._mask(), self._signing(), self._registry.texts, since)

    def head(self) -> LogHead:
        """Sign the root of the tree over the log."""
        from shroff.replay.proofs import Tree

        with self._log.reading() as log:
            return Tree(log, self._mask()).head(self._definitions.settings.name, self._signing())

    def _mask(self) -> Mask:
        from shroff.replay.proofs import mask_with

        return mask_with(self._secret("shroff mask 1"))

    def _secret(self, purpose: str) -> bytes:
        return key_for(self._paths, purpose, self._log.refuse_a_second_key)

    def _signing(self) -> Signing:
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        except ImportError:
            raise UsageError("a head takes the extra 'proof'. Install it: pip install 'shroff[proof]'") from None
        key = Ed25519PrivateKey.from_private_bytes(self._secret("shroff head 1"))
        public = key.public_key().public_bytes_raw().hex()
        return time_text(self._now_ms()), lambda data: (public, key.sign(data).hex())

    def entities(self, log: Log) -> EntityLook:
        """Return a reader of entity keys in an open log, for the active version."""
        from shroff.explain.entities import EntityLook

        return EntityLook(log, self._definitions)

    def cluster(
        self, backend: str, address: str | None = None, partitions: int | None = None
    ) -> AbstractContextManager[Cluster | None]:
        """Return the backend of the batch engine (see `replay.clusters.cluster_of`)."""
        from shroff.replay.clusters import LOCAL, cluster_of

        installed = {} if backend == LOCAL else entries()  # searches all installed packages
        return cluster_of(backend, address, partitions, installed)
