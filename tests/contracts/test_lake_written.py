"""A whole lake in every place that one may be in, written by several at once: each row of the log once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.lake.check import check
from shroff.lake.reader import LakeReader
from shroff.lake.writer import LakeWriter
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.lake_manifest import DocumentFolder, Layout, read_state
from tests.contracts.test_lake_places import SCHEMES, bucket_of, own
from tests.support import projects
from tests.support.effort import long_after
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import NOW_MS, submission

WRITERS = 4
LAYOUT = Layout(documents={"transaction": DocumentFolder("payment"), "decided": DocumentFolder("decisions", lines=7)})
pytestmark = pytest.mark.slow


def at(place: str, folder: Path, request: pytest.FixtureRequest) -> Callable[[], Objects]:
    prefix = f"lakes/{own(folder)}"
    if place == "folder":
        return lambda: FolderObjects(str(folder / "lake"))
    bucket = bucket_of(request.getfixturevalue(place))
    return lambda: bucket(prefix)


def log_of(payments: int) -> MemoryStore:
    store = MemoryStore()
    writer = projects.writer(MemoryLog(store))
    for n in range(payments):
        fields = {"id": f"p/{n}", "at": f"2026-03-{1 + n // 15:02d}T12:00:{n % 60:02d}Z", "amount": f"{n * 9}.50"}
        writer.write([submission("payment", n, fields | {"card": f"c{n % 4}"})])
    return store


# The contract of places is tried at each.
@pytest.mark.parametrize("place", long_after(2, ["folder", *SCHEMES]))
def test_writers_at_once_make_one_lake(place: str, tmp_path: Path, request: pytest.FixtureRequest):
    make, store = at(place, tmp_path, request), log_of(40)

    def work(number: int) -> None:
        log = MemoryLog(store, read_only=True)
        writer = LakeWriter(RetriedObjects(make()), log, lambda: NOW_MS + number, places_max=6)
        writer.write(LAYOUT)
        writer.compact(files_min=2, target_bytes=1 << 20, grace_ms=10**9)
        writer.write(LAYOUT)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(work, range(WRITERS)))
    objects, log = RetriedObjects(make()), MemoryLog(store, read_only=True)
    state, reader = read_state(objects), LakeReader(objects)

    assert (state.upto, check(objects, state).problems) == (log.last_seq(), [])
    assert list(chain(*reader.records())) == list(chain(*log.read()))
    assert list(chain(*reader.decisions())) == list(chain(*log.decisions.after()))
    assert len([file for file in state.files.values() if file.kind == "events"]) == 3
    assert [letter.name for letter in objects.list("transaction")] == sorted(
        f"transaction/p=2F{n}.json" for n in range(40)
    )
    lines = [line for letter in objects.list("decided") for line in objects.get(letter.name).data.splitlines()]
    assert lines == [row.document for row in chain(*log.decisions.after())]
