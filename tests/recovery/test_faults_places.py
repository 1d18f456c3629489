"""`make faults`: every place has its world, with the server that it needs."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tools import faults
from tools.faults import Kept, Place

SMALLEST = 7  # of which each source has one


@contextmanager
def nothing(*_: object):
    yield


def test_each_source_is_struck_with_the_server_that_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    started, worlds = list[str](), list[tuple[str, str, int]]()

    class Started:
        address, details = "host:1", {"key": "value"}

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

    def server(kind: str) -> Started:
        started.append(kind)
        return Started()

    def world(place: str, *given: object) -> str:
        return f"{place} at {getattr(given[3], 'address', '') if len(given) > 3 else 'its folder'}"

    def pubsub(*given: object) -> str:
        return f"pubsub at {given[3]} and {os.environ['PUBSUB_EMULATOR_HOST']}"

    def struck(place: Place, make: faults.Make, count: int, kept: Kept) -> list[str]:
        worlds.append((place.name, str(make(tmp_path, "a world")), len(faults.worlds_of(place, count)[0])))
        return []

    monkeypatch.setattr(faults, "KINDS", {kind: lambda kind=kind: server(kind) for kind in faults.KINDS})
    monkeypatch.setattr(faults, "world_at", world)
    monkeypatch.setattr(faults, "PubsubWorld", pubsub)
    monkeypatch.setattr(faults, "struck", struck)
    monkeypatch.setattr(faults, "Stable", nothing)
    sources = [place.name for place in (*faults.PULLED, faults.PUBSUB)]

    assert faults.in_places(sources, SMALLEST, Kept(None, SMALLEST)) == []
    assert started == ["s3", "postgres", "mariadb", "pubsub"]
    assert worlds == [
        ("folder", "folder at its folder", 1),
        ("bucket", "bucket at host:1", 1),
        ("table", "table at its folder", 1),
        ("table of PostgreSQL", "table of PostgreSQL at host:1", 1),
        ("table of MariaDB", "table of MariaDB at host:1", 1),
        ("pubsub", "pubsub at host:1 and host:1", 1),
    ]
    assert "PUBSUB_EMULATOR_HOST" not in os.environ
