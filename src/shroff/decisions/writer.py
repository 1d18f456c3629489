"""The writer of a log: submissions in, places in the log and answers out, one batch a transaction.

A batch is drafted, then handed to the log with everything that came of it. State moves
only with the log: it is out of the writer's hands from the start of a draft to the end of
its commit, so whatever goes wrong between leaves none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict

from shroff.decisions.activation import check_change
from shroff.decisions.definitions import Definitions
from shroff.decisions.draft import DECIDED, DUPLICATE, REFUSED, TAKEN, UNTAKEN, WAITING, Answer, Draft, Prepared
from shroff.decisions.fold import Folded, Progress, fold
from shroff.decisions.snapshots import Saved, restore, save
from shroff.errors import StateError
from shroff.events.event import Event
from shroff.events.intake import Submission
from shroff.streams.log import Batch, Log, Offset, Record
from shroff.streams.snapshots import Snapshots

__all__ = ["DECIDED", "DUPLICATE", "REFUSED", "TAKEN", "UNTAKEN", "WAITING", "Answer", "Prepared", "Writer"]


class Writer:
    """Writes one log for one version of a project.

    Args:
        now_ms: The clock, for what is not part of a decision: when input was refused and
            when a version came into force.
        snapshots: Where state is saved; without it the whole log is read.

    `warnings` says which snapshots could not be used, and why.
    Raises: DefinitionError where the log has events that this version cannot read; nothing is written then.
    """

    def __init__(
        self,
        log: Log,
        definitions: Definitions,
        now_ms: Callable[[], int],
        progress: Progress | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._log, self.definitions, self._now_ms, self._snapshots = log, definitions, now_ms, snapshots
        self.warnings: list[str] = []
        self._saved_seq = 0
        self._state: Folded | None = None
        self._open: tuple[Prepared, Folded] | None = None
        check_change(log, definitions)
        if snapshots is None:
            self._state = fold(log, definitions, progress=progress)
        else:
            self._state, self._saved_seq, self.warnings = restore(snapshots, log, definitions, progress)
        self._seq = log.last_seq()
        self._has_waiting = bool(log.waiting_all())
        self._activate()

    @property
    def state(self) -> Folded:
        """State at the end of the log. Raises: StateError where a batch is open, or was not committed."""
        if self._state is not None:
            return self._state
        words = "a batch is not committed yet" if self._open is not None else "the last commit failed"
        raise StateError(f"{words}; open the project again, which restores its state from the log")

    @property
    def unsaved(self) -> int:
        """Places of the log that the next start would have to read."""
        return self._seq - self._saved_seq

    def snapshot(self) -> Saved:
        """Save state, every batch committed; not for the path of a decision, as it takes up to seconds.

        Raises: StorageError where it cannot be written, which harms nothing else.
        """
        assert self._snapshots is not None, "this writer was given no place for snapshots"
        state = self.state
        state.seq = self._seq
        saved = save(self._snapshots, self._log, state)
        self._saved_seq = saved.seq
        return saved

    def unknown(self, events: Iterable[Event]) -> int:
        """How many of these events the log does not have. Not beside a commit: it asks the log."""
        by_type: dict[str, set[str]] = defaultdict(set)
        for event in events:
            by_type[event.type].add(event.id)
        return sum(len(ids) - len(self._log.find(type_, list(ids))) for type_, ids in by_type.items())

    def _activate(self) -> None:
        """Put the project's files in force where they differ from what the log has."""
        control, seq = self.state.control, self._seq + 1
        versions = asdict(self.definitions.versions)
        if control.versions == versions:
            return
        body = control.change_to(self.definitions.files, versions)
        record = Record(seq, "control", "control", str(seq), self._now_ms(), body, decided=False)
        self._log.append(Batch(records=[record]))
        control.take(record)
        self._seq += 1

    def write(
        self, submissions: Sequence[Submission], *, decide: bool = True, offsets: Sequence[Offset] = ()
    ) -> list[Answer]:
        """Take submissions in order and commit what came of them; gives an answer for each."""
        prepared = self.prepare(submissions, decide=decide, offsets=offsets)
        self.commit(prepared)
        return prepared.answers

    def prepare(
        self, submissions: Sequence[Submission], *, decide: bool = True, offsets: Sequence[Offset] = ()
    ) -> Prepared:
        """Decide a batch without committing it.

        Raises: StateError where the batch before it is not committed. Whatever is raised, and
            wherever, until this batch is committed: state is thrown away.
        """
        state, self._state = self.state, None
        draft = Draft(self._log, state, self._now_ms, has_waiting=self._has_waiting, decide=decide, after=self._seq)
        prepared = draft.prepared(submissions, offsets)
        self._open = prepared, state
        return prepared

    def commit(self, prepared: Prepared) -> None:
        """Make the prepared batch durable; where it fails, state is thrown away."""
        opened, self._open = self._open, None
        if opened is None or opened[0] is not prepared:
            raise StateError("this batch is not the one that was prepared last, so it does not follow the log")
        batch = prepared.batch
        if not batch.is_empty():
            self._log.append(batch)
        self._seq += len(batch.records)
        self._has_waiting = self._has_waiting or bool(batch.waiting)
        self._state = opened[1]  # last, so that an interruption before leaves no state
