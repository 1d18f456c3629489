"""Copies of snapshots in every place that they may be in: what was copied comes back, and old ones go."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.lake_folder import FolderObjects
from shroff.adapters.lake_gcs import GcsObjects
from shroff.adapters.lake_s3 import S3Objects
from shroff.streams import snapshot_copies
from shroff.streams.lake import Patient
from shroff.streams.snapshot_copies import SnapshotCopies
from shroff.streams.snapshots import Header, Snapshots
from tools.servers.errors import ServerError
from tools.servers.objects import GCS, S3

BUCKET = "shroff-snapshot-copies"
SLOW = [pytest.param("s3", marks=pytest.mark.slow), pytest.param("gcs", marks=pytest.mark.slow)]


def objects(kind: str, request: Any, folder: Path) -> Any:
    """A place of objects that is new."""
    if kind == "folder":
        return FolderObjects(str(folder / "copies"))
    server = request.getfixturevalue(kind)
    with suppress(ServerError):  # another process of this run has made it
        (S3 if kind == "s3" else GCS).create_at(server.address, BUCKET)
    if kind == "s3":
        return S3Objects(f"s3://{BUCKET}/{folder.name}", endpoint=server.address, options=dict(server.details))
    return GcsObjects(f"gs://{BUCKET}/{folder.name}", endpoint=server.address)


@pytest.mark.parametrize("kind", ["folder", *SLOW])
def test_what_was_copied_comes_back_to_the_byte_and_old_copies_go(kind, request, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot_copies, "PART_BYTES", 50_000)
    here, there = Snapshots(tmp_path / "here"), Snapshots(tmp_path / "there")
    with closing(objects(kind, request, tmp_path)) as place:
        copies = SnapshotCopies(Patient(place), "0123456789abcdef", kept=2)
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
