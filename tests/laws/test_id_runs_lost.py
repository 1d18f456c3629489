"""Power fails, or SIGKILL comes, while runs of ids are replaced and sealed: each stored id is found once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from shroff.adapters.databases import write_ahead
from shroff.adapters.log.frames import event_frames
from shroff.adapters.log.ids import record_ids
from shroff.adapters.log.sqlite import SqliteLog
from shroff.adapters.log.writing import row_framing
from shroff.errors import StateError
from shroff.runtime.values import replace
from shroff.streams.log import Batch
from tests.support.effort import times
from tests.support.log_rows import payments
from tests.support.power import Disk, Operation, RouteDoc
from tests.support.recording import put_files, recording
from tests.support.small_runs import small_runs

pytest.importorskip("apsw")
BATCH = 16
BATCHES = 24
SMALL = {"FINAL": 128, "LEVEL_BITS": 2, "FILTER_WORDS": 48, "_BESIDE": 2, "_PART": 2}


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    """Few ids make a frame, a run and a sealed one, and the write-ahead log goes into the file after some batches."""
    with ExitStack() as stack:
        stack.enter_context(small_runs(**SMALL))
        for module in (event_frames, record_ids, row_framing):
            stack.enter_context(patch.object(module, "FRAME_ROWS", BATCH))
        for name, pages in (("_CHECKPOINT_PAGES", 100), ("_BESIDE_PAGES", 50)):
            stack.enter_context(patch.object(write_ahead, name, pages))
        yield


def batch(number: int) -> Batch:
    """The batch of this number, from 0 on: records alone, which are in a frame."""
    return Batch(records=payments(number * BATCH + 1, BATCH).records)


def take_in(path: Path, first: int = 0, told: Callable[[str, int], None] = lambda *_: None) -> None:
    with closing(SqliteLog(path)) as log:
        if first:
            log._connection.sqlite.execute("PRAGMA synchronous = OFF")  # nothing is lost a second time
        for number in range(first, BATCHES):
            log.append(batch(number))
            told("stored", number + 1)
            log.maintain()


def tables(path: Path) -> tuple[list[Any], list[Any]]:
    with closing(sqlite3.connect(path)) as shell:
        runs = shell.execute("SELECT * FROM id_runs ORDER BY run").fetchall()
        return runs, shell.execute("SELECT * FROM id_parts ORDER BY part").fetchall()


def images(operations: Sequence[Operation], start: dict[str, bytes]) -> Iterator[tuple[str, int, dict[str, bytes]]]:
    """What the files may be, with the number of batches that were answered: after each flush if the power fails then,
    and at some of the writes, of which all (SIGKILL) or any (power) are there."""
    disk, stored, chance = Disk(start), 0, Random(7)
    chosen = set(chance.sample(range(len(operations)), times(12, 400)))
    for number, operation in enumerate(operations):
        disk.take(operation)
        if isinstance(operation, RouteDoc):
            stored = operation.number
            yield f"power fails behind batch {stored}", stored, disk.safe()
        if number in chosen:
            yield f"killed behind operation {number}", stored, disk.whole()
            yield f"power fails behind operation {number}", stored, disk.torn(chance)


@pytest.mark.slow
def test_what_was_stored_is_found_once_and_sealing_goes_on(tmp_path):
    place, path = tmp_path / "recorded", tmp_path / "again" / "log.db"
    place.mkdir()
    with recording(place) as kept:
        take_in(place / "log.db", told=kept.told)
    wanted = tables(place / "log.db")
    assert [size for _, _, _, size, *_ in wanted[0]] == [128, 128, 128]
    names = [f"p-{seq}" for seq in range(1, BATCHES * BATCH + 1)]
    for at, (name, stored, image) in enumerate(images(kept.operations, kept.start)):
        put_files(path.parent, image)
        with closing(SqliteLog(path)) as log:
            count = log.last_seq()
            assert count in (stored * BATCH, stored * BATCH + BATCH), name
            assert log.damage(60) == "", name
            assert {id_: row.seq for id_, row in log.find("payment", names).items()} == {
                id_: seq for seq, id_ in enumerate(names[:count], 1)
            }, name
            for taken in names[:count:97]:
                records = batch(count // BATCH).records
                with pytest.raises(StateError, match=f"payment/{taken} is already in the log"):
                    log.append(Batch(records=[*records[:-1], replace(records[-1], id=taken)]))
        runs, _ = tables(path)
        assert sum(size for _, _, _, size, *_ in runs) == count, name
        if at % 7 == 0:
            take_in(path, count // BATCH)
            assert tables(path) == wanted, name
