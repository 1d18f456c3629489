"""What a log has noted of its days, and what came behind, is what counting all records gives, whatever happened."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shroff
from shroff.events.intake import Submission
from shroff.language.values import DAY_MS
from shroff.log import event_notes
from shroff.log.event_notes import DAY_COUNTS, DayCounts, EventSources
from shroff.log.writer import Writer
from shroff.services.lake.operations import WriteLake
from shroff.services.project_files import intake_of
from shroff.streams.log import Log
from tests.support.effort import long_after

EVENTS = """\
entities: {{ card: {{ payment: card }} }}
payment: {{ id: id, time: at, decide: true, fields: {{ id: text, at: time, card: text, mail: text? personal }} }}
{other}: {{ id: id, time: at, fields: {{ id: text, at: time }} }}
"""
BEGIN = datetime(1969, 12, 30, tzinfo=UTC)


def write_version(bank: Path, other: str) -> None:
    bank.mkdir(exist_ok=True)
    (bank / "shroff.yaml").write_text(
        "shroff: 1\nname: bank\nmoney: EUR\nlateness: 1d\nlake: ./lake\nkeep: 1h\n", "utf-8"
    )
    (bank / "events.yaml").write_text(EVENTS.format(other=other), "utf-8")


class Sender:
    """Makes submissions of random types and days: in order, late, too late, repeated, invalid, and labels."""

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._number, self._hours = chance, 0, 0

    def some(self, opened: Any, other: str, count: int) -> list[Submission]:
        intake = intake_of(opened, keeps_hashes=False)
        return [
            intake.submit(*self._one(other), source="file", place="1", raw=b"", is_strict=True) for _ in range(count)
        ]

    def _one(self, other: str) -> tuple[str, dict[str, Any]]:
        chance = self._chance
        self._number += chance.random() < 0.9
        self._hours += chance.choice([0, 1, 5])
        at = BEGIN + timedelta(hours=self._hours - chance.choice([0, 0, 20, 90]))
        if chance.random() < 0.2 and self._number > 1:
            event = f"payment/e{chance.randrange(self._number)}"
            return "label", {"event": event, "verdict": "fraud", "known_at": "1990-01-01T00:00:00Z"}
        fields = {"id": f"e{self._number}", "at": at.isoformat().replace("+00:00", "Z")}
        type_ = chance.choice(["payment", other])
        return type_, fields | ({"card": "c", "mail": "a@b.example"} if type_ == "payment" else {})


def counted(log: Log) -> Counter[tuple[int, str]]:
    """The definition; pruned events are read from the lake."""
    records = [item for some in log.read() for item in some]
    return Counter((record.time_ms // DAY_MS, record.type) for record in records if record.kind == "event")


def told(tally: DayCounts) -> Counter[tuple[int, str]]:
    return Counter({(day, name): count for day, counts in tally.days.items() for name, count in counts.items()})


def step(writer: Writer, log: Log, sent: list[Submission], chance: random.Random) -> None:
    """Write them in batches of any size; the last one may be lost with the process."""
    while sent:
        size = chance.choice([1, 2, 7, 30])
        some, sent = sent[:size], sent[size:]
        prepared = writer.prepare(some, decide=chance.random() < 0.5)
        if not sent and chance.random() < 0.3:
            return
        writer.commit(prepared)


# Each seed draws another history.
@pytest.mark.parametrize("seed", long_after(1, range(3)))
def test_noted_days_are_those_of_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int):
    monkeypatch.setattr(event_notes, "EVERY", 5)
    chance = random.Random(seed)
    pruned = False
    bank, sender, other = tmp_path / "bank", Sender(chance), "login"
    for number in range(8):
        if chance.random() < 0.3:
            other = f"other{number}"
        write_version(bank, other)
        context = shroff.open(bank).context
        with context.log.writing() as (writer, log):
            writer.keeps_late = chance.random() < 0.5
            step(writer, log, sender.some(context, other, 40), chance)
        with context.log.reading() as log:
            assert told(DayCounts(log).read_on(log)) == counted(log)
            assert log.last_seq() - DayCounts(log).upto < 5 + 30
        if chance.random() < 0.4:
            shroff.open(bank).run(WriteLake())
            pruned += shroff.open(bank).retention.prune().upto > 0
        elif chance.random() < 0.3:
            shroff.open(bank).erasing.erase("card", "c")
    assert pruned


def test_a_log_of_an_older_version_is_counted_by_the_next_writer_as_far_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_notes, "EVERY", 5)
    write_version(bank := tmp_path / "bank", "login")
    sender, context = Sender(random.Random(1)), shroff.open(bank).context
    with context.log.writing() as (writer, log):
        writer.write(sender.some(context, "login", 60))
    with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as file, file:
        file.execute("DELETE FROM offsets WHERE source = ?", (DAY_COUNTS,))
    with context.log.reading() as log:
        assert DayCounts(log).days == {}
    with context.log.writing() as (writer, log):
        writer.write(sender.some(context, "login", 20))
        assert (DayCounts(log).after, DayCounts(log).upto) == (0, log.last_seq())
        assert told(DayCounts(log)) == counted(log)


def test_the_source_of_an_event_is_unknown_before_the_first_note_and_where_none_was_named():
    sources = EventSources(np.array([3, 5]), ["", "api"])

    assert sources.of([2, 3, 4, 5, 9]) == [None, None, None, "api", "api"]
