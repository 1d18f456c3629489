"""Decision history of an opened project: explanations, replays, verification of the log, the key index."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from shroff.app.parts import ProjectPart
from shroff.errors import StorageError, UsageError
from shroff.runtime.entry_points import entries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from shroff.explain.entities import EntityLook
    from shroff.explain.explanation import Explained
    from shroff.explain.key_index import KeyIndex
    from shroff.explain.model import ModelReason
    from shroff.features.cluster.partitioned import Cluster
    from shroff.project.definitions import Definitions
    from shroff.replay.compare import Verification
    from shroff.replay.decision_replay import Replayed
    from shroff.runtime.progress import Progress
    from shroff.streams.log import Log, Record


class DecisionHistory(ProjectPart):
    """Explanations, replays and verification of the log. Each call reads the current log."""

    def replay(self, reference: str, *, is_full: bool = False) -> Replayed:
        """Replay a decision: the recorded one, and the same computed again from the log.

        It reads the records that the decision can depend on. If these are unknown, if they do not give the recorded
        bytes, or with `is_full`, it reads the whole log before the event.
        """
        from shroff.log.history import find
        from shroff.replay.decision_replay import Replayed, replay

        with self._log.reading() as log:
            row = find(log, self._context.definitions.events, reference)
            load = self._context.registry.load
            if not is_full and (past := self._looked_back(log, row.seq)) is not None:
                found = Replayed(row, replay(log, row.seq, load, past))
                if found.match:
                    return found
            return Replayed(row, replay(log, row.seq, load))

    def explain(self, reference: str, progress: Progress | None = None) -> Explained:
        """Explain a decision: its features beside the entity's earlier values, and its rules in words."""
        from shroff.explain.explanation import explain
        from shroff.log.history import find

        with self._log.reading() as log:
            row = find(log, self._context.definitions.events, reference)
            return explain(log, row, progress, self._context.registry.load, self.key_index)

    def first_reason(self, event: str, id_: str) -> ModelReason | None:
        """Get the first reason of a decision, as in `explain`; None if there is none.

        Raises: as `explain`.
        """
        from shroff.explain.explanation import first_reason
        from shroff.log.history import find

        reference = f"{event}/{id_}"
        with self._log.reading() as log:
            row = find(log, self._context.definitions.events, reference)
            return first_reason(log, row, self._context.registry.load, self.key_index)

    def index_keys(self, progress: Progress | None = None) -> int:
        """Index the log by key, except for its newest events; gives the number of added log positions.

        Raises: UsageError where there is no log; StorageError where the index cannot be written.
        """
        from shroff.explain.explanation import definitions_at

        with self._log.reading() as log:
            definitions = definitions_at(log, log.last_seq())  # models are not asked; what they need takes longest
            return self.key_index(definitions).extend(log, progress)

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
            engines: Those of `known_engines`; by default all, and without `batch` where `last` is given.
            last: Compare only so many of the last sequence numbers.

        Raises: UsageError for an engine that is not known, or `batch` with `last`, since it computes the whole log.
        """
        from shroff.replay.verification import LONG, engines_for, verify

        names = engines_for(engines, last)
        if sample is not None and sample < 1:
            raise UsageError(f"a sample must have at least 1 event, not {sample}.")
        with self._log.reading() as log:
            if "naive" in names and log.last_seq() > LONG and self._looks_back(log):
                with suppress(StorageError):  # where it cannot be written, keys are looked for without it
                    self.index_keys(progress)
            load = self._context.registry.load
            look_back = partial(self._looked_back, log, most=LONG)
            return verify(log, names, sample, progress, load, last=last, look_back=look_back)

    def _looks_back(self, log: Log) -> bool:
        """Whether the events of its keys say all that some decision of the version in force depends on."""
        from shroff.explain.explanation import definitions_at
        from shroff.explain.finding_keys import asked_of_keys

        definitions = definitions_at(log, log.last_seq())
        told = (asked_of_keys(definitions, event) for event in definitions.events.decided)
        return not log.pruned_to() and any(used is not None for used in told)

    def _looked_back(self, log: Log, seq: int, most: int | None = None) -> Sequence[Record] | None:
        from shroff.explain.explanation import definitions_at
        from shroff.explain.finding_keys import MOST, looked_back

        definitions = definitions_at(log, seq, self._context.registry.load)
        return looked_back(log, definitions, seq, self.key_index(definitions), most or MOST)

    def entities(self, log: Log) -> EntityLook:
        """A look at keys of entities in an open log, for the active version."""
        from shroff.explain.entities import EntityLook

        definitions = self._context.definitions
        return EntityLook(log, definitions, self.key_index(definitions))

    def key_index(self, definitions: Definitions) -> KeyIndex:
        from shroff.explain.key_index import KeyIndex, form_of

        if self._context.index is None or self._context.index.form != form_of(definitions):
            self._context.index = KeyIndex(self._context.paths.key_index, definitions)
        return self._context.index

    def cluster(
        self, backend: str, address: str | None = None, partitions: int | None = None
    ) -> AbstractContextManager[Cluster | None]:
        """The backend on which the batch engine runs (see `replay.clusters.cluster_of`)."""
        from shroff.replay.clusters import LOCAL, cluster_of

        found = {} if backend == LOCAL else entries()  # which looks through all installed packages
        return cluster_of(backend, address, partitions, found)
