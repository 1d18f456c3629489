"""Sorting by time outside memory: the order, what comes back, and what it takes."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from shroff.errors import UsageError
from shroff.events.formats import sorting
from shroff.events.formats.sorting import in_order_of_time
from shroff.events.intake import Submission
from shroff.worker.file_order import with_labels
from tests.support.projects import label, payment, submission

pytestmark = pytest.mark.slow  # its blocks are sized as in production

SIZES = (1, 5_000, sorting.MEMORY_BYTES)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    return tmp_path


def shown(sent: Submission) -> tuple[object, ...]:
    return sent.source, sent.place, sent.raw(), sent.type, sent.event, sent.label, sent.refusal


def mixed() -> list[Submission]:
    """Payments, many at the same minute, labels and refused lines."""
    chance = Random(4)
    found = [payment(number, chance.randrange(40), card=chance.choice(["a", None])) for number in range(150)]
    for number in range(20):
        at = f"2026-03-{1 + chance.randrange(3):02d}T12:00:00Z"
        found.append(label(200 + number, f"payment/p{number}", "fraud", "analyst", at))
        found.append(submission("payment", 300 + number, {"id": "x", "at": "spring"}))
    chance.shuffle(found)
    return found


def time_of(sent: Submission) -> int:
    return sent.event.time_ms if sent.event else sent.label.known_at_ms if sent.label else -1


@pytest.mark.parametrize("memory_bytes", SIZES)
def test_everything_comes_back_as_it_was_by_time_equal_times_as_they_came(memory_bytes):
    given = mixed()
    found = list(in_order_of_time(given, memory_bytes))

    assert [shown(item) for item in found] == [shown(row) for row in sorted(given, key=time_of)]
    assert [item.refusal is not None for item in found] == [True] * 20 + [False] * 170


@pytest.mark.parametrize("memory_bytes", SIZES)
def test_of_nothing_comes_nothing(memory_bytes):
    assert list(in_order_of_time([], memory_bytes)) == []


def test_the_temporary_file_has_no_name_and_so_survives_nobody(folder):
    found = in_order_of_time(mixed(), 300)
    next(item for item in found if item.event is not None)

    assert list(folder.iterdir()) == []


def test_no_room_is_said_with_what_to_do(monkeypatch):
    connect = sqlite3.connect

    def small(*given: object, **options: object) -> sqlite3.Connection:
        database = connect(*given, **options)
        database.execute("PRAGMA max_page_count = 2")
        return database

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(UsageError, match=r"cannot be sorted: database or disk is full.*TMPDIR"):
        list(in_order_of_time(mixed(), 300))


def peak_bytes(count: int) -> int:
    """The most memory that sorting so many payments takes."""

    def payments() -> Iterator[Submission]:
        given = payment(0, 5)
        return (given for _ in range(count))

    tracemalloc.start()
    try:
        for _ in in_order_of_time(payments(), 50_000):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_what_is_sorted():
    few, many = peak_bytes(2_000), peak_bytes(20_000)  # of about 130 bytes each, packed

    assert many < few + 1_000_000


def test_labels_come_before_the_first_event_at_or_after_what_they_were_known_at():
    #  minute        0    1    2    3         labels known at 1 and at 2:30, and one at 9
    #  payments      p0   p1   p2   p3
    payments = [payment(number, number) for number in range(4)]
    labels = [
        label(number, f"payment/p{number}", "fraud", "analyst", f"2026-03-01T12:0{minute}Z")
        for number, minute in enumerate(("9:00", "1:00", "2:30"))
    ]
    found = [
        item.label.event_id + " found out" if item.label else item.event.id for item in with_labels(payments, labels)
    ]

    assert found == ["p0", "p1 found out", "p1", "p2", "p2 found out", "p3", "p0 found out"]
