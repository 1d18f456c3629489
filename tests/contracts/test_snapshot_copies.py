"""Copies of snapshots in every place that they may be in: what was copied comes back, and old ones go."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.streams import snapshot_copies
from shroff.streams.lake import RetriedObjects
from shroff.streams.snapshot_copies import SnapshotCopies
from shroff.streams.snapshots import Header, Snapshots
from tests.contracts.test_lake_places import SCHEMES, bucket_of, own

SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in SCHEMES]


def objects(kind: str, request: Any, folder: Path) -> Any:
    """A place of objects that is new."""
    if kind == "folder":
        return FolderObjects(str(folder / "copies"))
    return bucket_of(request.getfixturevalue(kind), "shroff-snapshot-copies")(own(folder))


@pytest.mark.parametrize("kind", ["folder", *SLOW])
def test_what_was_copied_comes_back_to_the_byte_and_old_copies_go(kind, request, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot_copies, "PART_BYTES", 50_000)
    here, there = Snapshots(tmp_path / "here"), Snapshots(tmp_path / "there")
    with closing(objects(kind, request, tmp_path)) as place:
        copies = SnapshotCopies(RetriedObjects(place), "0123456789abcdef", kept=2)
        files = [here.write(Header(seq, "layout", "log"), [bytes(120_000), b"end"]) for seq in (5, 8)]
        read = {file.name: file.read_bytes() for file in files}
        for file in files:
            copies.write(file)
        newest = here.write(Header(11, "layout", "log"), [bytes(70_000)])
        copies.write(newest)
        told: list[str] = []

        assert [name[:12] for name in copies.all()] == ["000000000011", "000000000008"]
        assert copies.fetch(there, 10, told.append) == there.folder / "000000000008.snapshot"
        assert (there.folder / "000000000008.snapshot").read_bytes() == read["000000000008.snapshot"]
        assert copies.fetch(there, 11, told.append) == there.folder / "000000000011.snapshot"
        assert (there.folder / "000000000011.snapshot").read_bytes() == newest.read_bytes()
        assert told == []
        assert len([*place.list("0123456789abcdef")]) == 2 + 3 + 2
