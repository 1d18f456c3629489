"""Runs of a real `ingest` whose files are recorded, and what is found on them after the power failed at any moment.

A recorded run keeps every operation on the files and, between them, each time that a batch
was answered, with what the log held then. So for each moment it is known what must be there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

from shroff.adapters.databases import write_ahead
from shroff.adapters.log.sqlite import SqliteLog
from shroff.errors import ShroffError
from shroff.log.state import snapshots
from shroff.services import adapter_factory, project_log
from shroff.services import project as app
from shroff.streams.snapshots import Snapshots
from shroff.worker.ingest import BATCH_SIZE as USUAL_BATCH_SIZE
from shroff.worker.ingest import ingest
from tests.support.power import Disk, Operation, RouteDoc
from tests.support.recording import files_in, put_files, recording

from .harness import Contents, contents, contents_of

BATCH_SIZE = 12
CHECKPOINT_PAGES = 40  # so that the write-ahead log moves into the file and begins again several times in a run
SAVED_EVERY = 60  # places, so that parts of the input end with a snapshot
STORED, SAVED = "stored", "saved"
Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a run: the disk, how many batches were answered, and the place of the last snapshot told of."""

    number: int
    disk: Disk
    stored: int
    saved: int


@dataclass(frozen=True, slots=True)
class Run:
    """A recorded run. `states` are the contents of the log, hashed: before the first batch, and after each."""

    start: Files
    operations: Sequence[Operation]
    states: Sequence[str]
    end: Files

    def moments(self) -> Iterator[Moment]:
        """Before each operation and at the end. The disk goes on: take of each what is wanted before the next."""
        disk, stored, saved = Disk(self.start), 0, 0
        for number, operation in enumerate(self.operations):
            yield Moment(number, disk, stored, saved)
            disk.take(operation)
            match operation:
                case RouteDoc(words, count) if words == STORED:
                    stored = count
                case RouteDoc(words, place) if words == SAVED:
                    saved = place
        yield Moment(len(self.operations), disk, stored, saved)


def record(
    project: app.Project,
    parts: Sequence[Path],
    *,
    synchronous: str = "",
    answered: str = "after commit",
    split: str = "",
) -> Run:
    """Ingest the parts one after the other, each with its own start, and record it.

    The last three break promises of the program on purpose: how SQLite syncs, the step at which a batch counts as
    answered, and the step behind which a second transaction begins.
    """
    project.context.paths.state.mkdir(exist_ok=True)
    states: list[str] = []
    with recording(project.context.paths.state) as kept:

        def open_log(path: Path, *, read_only: bool) -> SqliteLog:
            def on_step(step: str) -> None:
                if step == split:
                    log._connection.sqlite.execute("COMMIT")
                    log._connection.sqlite.execute("BEGIN IMMEDIATE")
                if step == answered:
                    kept.told(STORED, len(states))
                if step == "after commit":
                    states.append(state_of(log))

            log = SqliteLog(path, read_only=read_only, on_step=on_step)
            if synchronous:
                log._connection.sqlite.execute(f"PRAGMA synchronous = {synchronous}")
            if not states:
                states.append(state_of(log))
            return log

        def open_snapshots(folder: Path) -> Snapshots:
            def on_step(step: str) -> None:
                kept.look()
                if step == "done":
                    kept.told(SAVED, int(made.files()[0].stem))

            made = Snapshots(folder, on_step=on_step)
            return made

        for part in parts:
            take_in(project, [part], open_log, open_snapshots)
    return Run(kept.start, kept.operations, states, files_in(project.context.paths.state))


def take_in(
    project: app.Project,
    parts: Sequence[Path],
    open_log: Callable[..., SqliteLog] = SqliteLog,
    open_snapshots: Callable[[Path], Snapshots] = Snapshots,
    *,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Ingest the parts in one start, with frequent checkpoints and snapshots."""
    with ExitStack() as changed:
        changed.enter_context(patch.object(adapter_factory, "load_entry", lambda _name: open_log))
        changed.enter_context(patch.object(project_log, "Snapshots", open_snapshots))
        changed.enter_context(patch.object(snapshots, "EVERY", SAVED_EVERY))
        for name in ("_CHECKPOINT_PAGES", "_BESIDE_PAGES"):
            changed.enter_context(patch.object(write_ahead, name, CHECKPOINT_PAGES))
        changed.enter_context(patch.dict(ingest.__kwdefaults__, batch_size=batch_size))
        project.ingest(parts, order="file")  # some lines are too late on purpose


def state_of(log: SqliteLog) -> str:
    """All that a log holds, as one text to compare."""
    return sha256(repr(contents_of(log)).encode()).hexdigest()


def loss(project: app.Project, run: Run, moment: Moment, image: Files) -> str:
    """What is wrong with these files, in words; nothing where all that was answered is there, and no half batch."""
    put_files(project.context.paths.state, image)
    try:
        with closing(SqliteLog(project.context.paths.log)) as log:
            state = state_of(log)
    except ShroffError as error:
        return f"the log cannot be read: {error}"
    if state not in run.states[moment.stored : moment.stored + 2]:
        if state in run.states:
            return f"{moment.stored} batches were answered, and the log has {run.states.index(state)}"
        return "the log holds a part of a batch"
    with closing(sqlite3.connect(project.context.paths.log)) as database:
        (words,) = database.execute("PRAGMA integrity_check").fetchone()
    if words != "ok":
        return f"SQLite says {words}"
    saved = Snapshots(project.context.paths.snapshots)
    if moment.saved and not any(_is_whole(saved, file) and int(file.stem) >= moment.saved for file in saved.files()):
        there = [(file.name, _is_whole(saved, file)) for file in saved.files()]
        return f"the snapshot of place {moment.saved}, which was said to be saved, is not there: {there}"
    return ""


def _is_whole(saved: Snapshots, file: Path) -> bool:
    try:
        return saved.check(file) is not None
    except ShroffError:
        return False


def finished(project: app.Project, parts: Sequence[Path]) -> Contents:
    """What the log holds after the whole input was given once more."""
    take_in(project, parts, batch_size=USUAL_BATCH_SIZE)
    return contents(project.context.paths.folder)
