"""What one look of the doctor leaves to the next: nothing is read twice, and the words are those of a look alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import StateError
from shroff.language.values import HOUR_MS
from shroff.log.later_labels import LaterLabels
from shroff.monitoring.doctor import CHECKED_MS, EarlierFindings
from shroff.services import project as app
from shroff.streams.log import Batch, Record
from shroff.streams.snapshots import Header, Snapshots
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, write_files

HEADER = Header(7, "layout", "log")


class Counted(Snapshots):
    """Snapshots that count how often a file was read."""

    reads = 0

    def check(self, path: Path) -> Header | None:
        self.reads += 1
        return super().check(path)


@pytest.fixture
def folder(tmp_path: Path) -> Counted:
    return Counted(tmp_path / "snapshots")


def label(log: MemoryLog, known_at_ms: int) -> None:
    seq = log.last_seq() + 1
    log.append(Batch([Record(seq, "label", "label", f"payment/p-{seq}#1", known_at_ms, b"{}", decided=False)]))


@given(st.lists(st.tuples(st.integers(-30, 60), st.booleans(), st.integers(0, 20)), max_size=30))
def test_labels_that_are_followed_are_those_that_a_look_alone_finds(steps):
    log, followed, now_ms = MemoryLog(), LaterLabels(), NOW_MS
    for hours, is_looked_at, later in steps:
        label(log, now_ms + hours * HOUR_MS)
        now_ms += later * HOUR_MS
        if is_looked_at:
            assert followed.follow(log, now_ms) == LaterLabels().follow(log, now_ms)
            back_ms = now_ms - 3 * HOUR_MS  # a clock that was set back
            assert followed.follow(log, back_ms) == LaterLabels().follow(log, back_ms)

    assert followed.follow(log, now_ms) == LaterLabels().follow(log, now_ms)


def test_each_label_is_read_once(monkeypatch):
    log, followed, read = MemoryLog(), LaterLabels(), list[int]()
    asked = MemoryLog.labels_after
    monkeypatch.setattr(MemoryLog, "labels_after", lambda self, *more: read.append(more[0]) or asked(self, *more))
    label(log, NOW_MS + 1)
    assert followed.follow(log, NOW_MS).count == 1
    label(log, NOW_MS + 2)

    assert followed.follow(log, NOW_MS).count == 2
    assert followed.follow(log, NOW_MS + 1).count == 1
    assert read == [0, 1, 2]


def test_another_log_in_its_place_is_read_anew():
    longer, shorter, followed = MemoryLog(), MemoryLog(), LaterLabels()
    for _ in range(3):
        label(longer, NOW_MS + 5)
    label(shorter, NOW_MS + 9)

    assert followed.follow(longer, NOW_MS).count == 3
    assert followed.follow(shorter, NOW_MS) == LaterLabels().follow(shorter, NOW_MS)


def test_the_bytes_of_a_snapshot_are_read_once_an_hour(folder):
    file, seen = folder.write(HEADER, [b"part"]), EarlierFindings()

    assert seen.checked(folder, file, NOW_MS) == (HEADER, NOW_MS)
    assert seen.checked(folder, file, NOW_MS + CHECKED_MS - 1) == (HEADER, NOW_MS)
    assert folder.reads == 1
    assert seen.checked(folder, file, NOW_MS + CHECKED_MS) == (HEADER, NOW_MS + CHECKED_MS)
    assert folder.reads == 2


def test_a_snapshot_that_changed_is_read_again_and_a_damaged_one_each_time(folder):
    file, seen = folder.write(HEADER, [b"part"]), EarlierFindings()
    seen.checked(folder, file, NOW_MS)
    other = folder.write(Header(9, "layout", "log"), [])
    assert seen.checked(folder, other, NOW_MS)[0] == Header(9, "layout", "log")

    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    other.write_bytes(data)
    os.utime(other, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(StateError, match="checksum"):
            seen.checked(folder, other, NOW_MS)
    assert folder.reads == 4


def test_the_doctor_says_when_a_snapshot_was_read(tmp_path):
    write_files(tmp_path, FILES)
    project, seen = app.open_exactly(tmp_path), EarlierFindings()
    project.decide([{"id": "p1", "at": "2026-03-01T12:00:00Z", "amount": "1.00"}], as_type="payment")
    project.retention.snapshot()
    begun_ms = project.context.now_ms()

    def words(at_ms: int) -> str:
        project.context.now_ms = lambda: at_ms
        (found,) = [item for item in project.health.doctor(seen) if item.subject == "snapshots"]
        return found.words

    (files,) = [item for item in project.health.doctor(seen) if item.subject == "project"]
    first = words(begun_ms)
    assert files.words.endswith(", 3 features, 1 rule")
    assert " is intact: state at sequence number " in first
    assert " when it was read: state at sequence number " in words(begun_ms + 60_000)
    assert words(begun_ms + HOUR_MS) == first
