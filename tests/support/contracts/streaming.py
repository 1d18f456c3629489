"""The contract of engines that fold a recorded log by states of their own: bind it with a fixture `streaming`.

An engine may take seconds to start, so one may serve all tests of a class, and the log is small.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec
import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.config import TEMPLATE_FOLDER
from shroff.engine.step import Effects
from shroff.errors import StateError
from shroff.examples.bank import bank, with_labels
from shroff.lake.cluster_replay import ReplayPlan, replay_plan
from shroff.lake.cluster_replay_files import DecidedPart, Streaming
from shroff.lake.reader import LakeReader
from shroff.services import project as app
from shroff.streams.lake import RetriedObjects
from shroff.streams.log import DecisionRow
from shroff.testing.contracts.promises import Contract

EVENTS: Final = 400
PLACES: Final = 60
PARTITIONS: Final = 3
TEMPLATE: Final = TEMPLATE_FOLDER / "payments"
Row = tuple[int, str, str, str]


class Recorded:
    """A made-up bank's log with its lake, which grows. The bank has so many payments, in few customers' names."""

    def __init__(self, folder: Path, payments: int = 5 * EVENTS) -> None:
        self._lake, self._file = folder / "lake", folder / "events.jsonl"
        shutil.copytree(TEMPLATE, folder / "project")
        with (folder / "project" / "shroff.yaml").open("a", encoding="utf-8") as settings:
            settings.write(f"\nlake: {msgspec.json.encode(str(self._lake)).decode()}\n")
        self.project = app.open(folder / "project")
        self._lines: Iterator[Any] = with_labels(bank(payments, seed=5), seed=5)

    def grow(self, count: int) -> None:
        """Take so many more events and labels, and write the lake."""
        kinds = ((line.event, "label" if "verdict" in line.event else "payment") for line in islice(self._lines, count))
        self._file.write_bytes(b"".join(msgspec.json.encode({kind: event}) + b"\n" for event, kind in kinds))
        self.project.ingest([self._file])
        with self.project.lake.open() as lake:
            lake.write()

    def spread(self) -> ReplayPlan:
        """All that is recorded so far, for an engine."""
        opened = partial(FolderObjects, str(self._lake))
        reader = LakeReader(RetriedObjects(opened()))
        return replay_plan(uuid4().hex, opened, reader, self.project.context.paths.models, PARTITIONS)

    def decisions(self) -> list[Row]:
        """What the process that took the events decided."""
        with self.project.log.reading() as log:
            return [_row(row) for rows in log.decisions_after() for row in rows]


@dataclass(frozen=True, slots=True)
class Keeping:
    """Keeps each writing in a file of its own; at a place it fails, before that or after it."""

    folder: Path
    fails_at: int = 0
    is_kept_first: bool = False

    def __call__(self, after: int, upto: int, effects: Effects) -> None:
        """Runs in a process of the engine."""
        fails = after < self.fails_at <= upto
        if not fails or self.is_kept_first:
            path = self.folder / f"{after}-{upto}-{uuid4().hex}"
            path.with_suffix(".new").write_bytes(
                msgspec.json.encode([_row(decision) for decision in effects.decisions])
            )
            path.with_suffix(".new").rename(path.with_suffix(".json"))
        if fails:
            raise StateError(f"no place for {self.fails_at} on the disk")


class StreamingContract(Contract):
    """The promises of `lake.cluster_replay_files.Streaming`. Bind it with a fixture `streaming`."""

    @pytest.fixture
    def recorded(self, tmp_path: Path) -> Recorded:
        made = Recorded(tmp_path)
        made.grow(EVENTS)
        return made

    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        (tmp_path / "out").mkdir()
        return tmp_path / "out"

    def test_every_place_is_decided_as_one_process_did(
        self, streaming: Streaming, recorded: Recorded, out: Path, tmp_path: Path
    ) -> None:
        told = run(streaming, recorded, tmp_path / "checkpoint", 3 * PLACES, Keeping(out))

        assert kept(out) == recorded.decisions()
        follow([(report.first, report.last) for report in told])
        assert sum(report.decisions for report in told) == len(recorded.decisions())
        assert [(report.differing, report.example) for report in told] == [(0, "")] * len(told)

    def test_a_run_that_was_stopped_goes_on_where_it_was(
        self, streaming: Streaming, recorded: Recorded, out: Path, tmp_path: Path
    ) -> None:
        """By a process that fails before it kept anything of a stretch, and by one that fails after it."""
        start = partial(run, streaming, recorded, tmp_path / "checkpoint")
        with pytest.raises(StateError, match=f"no place for {2 * PLACES + 1} on the disk"):
            start(PLACES, Keeping(out, 2 * PLACES + 1))
        with pytest.raises(StateError, match=f"no place for {4 * PLACES + 1} on the disk"):
            start(PLACES, Keeping(out, 4 * PLACES + 1, is_kept_first=True))
        recorded.grow(2 * PLACES)
        told = start(5 * PLACES, Keeping(out))  # what was begun keeps its ends, what comes after it has others
        written = len(list(out.glob("*.json")))
        again = start(PLACES, Keeping(out))

        assert kept(out) == recorded.decisions()
        assert [(report.differing, report.example) for report in told] == [(0, "")] * len(told)
        assert (again, written) == ([], len(list(out.glob("*.json"))))


def run(streaming: Streaming, recorded: Recorded, checkpoint: Path, places: int, write: Keeping) -> list[DecidedPart]:
    """Let an engine decide what is recorded, so many places at a time; gives what it told of."""
    told: list[DecidedPart] = []
    streaming.stream(recorded.spread(), checkpoint, places, write, told.append)
    return told


def kept(folder: Path) -> list[Row]:
    """Stretches written, which follow each other, and the same each time where there are several."""
    found: dict[tuple[int, int], list[Row]] = {}
    for path in folder.glob("*.json"):
        after, upto, _ = path.name.split("-")
        rows = msgspec.json.decode(path.read_bytes(), type=list[Row])
        assert found.setdefault((int(after), int(upto)), rows) == rows, "a stretch was written again otherwise"
    follow(list(found))
    return [row for at in sorted(found) for row in found[at]]


def follow(stretches: Sequence[tuple[int, int]]) -> None:
    """Stretches begin at the first place, and follow each other without a gap."""
    ends = [(0, 0), *sorted(stretches)]
    assert all(later[0] == before[1] for before, later in pairwise(ends)), ends


def _row(decision: DecisionRow) -> Row:
    return decision.seq, decision.id, decision.receipt.hex(), decision.document.decode()
