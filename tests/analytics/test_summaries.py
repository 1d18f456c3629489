"""Summaries are those of the plain definition: each event in one window, each window with a row, again the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from shroff.adapters.databases.sql_database import SqlDatabase
from shroff.adapters.log.records.records import SqlRecords
from shroff.errors import UsageError
from shroff.services.project_files import check
from shroff.streams.log import Record
from shroff_plugins.analytics.summaries import summaries, summary_writer
from shroff_plugins.analytics.summaries.project_summaries import Summaries
from shroff_plugins.analytics.summaries.settings import SummarySettings
from shroff_plugins.analytics.summaries.window_seqs import EventTimeWindows
from tests.support.summarized import (
    BEGIN_MS,
    EVERY_MS,
    Bank,
    bank_in,
    by_definition,
    rows_of,
    summarized,
    text_of,
    week,
)

FIRST_MS = BEGIN_MS - BEGIN_MS % EVERY_MS
GAP = 1_024  # sequence numbers between two events of a window up to which those between are read as well


class KilledError(BaseException):
    """The process is gone."""


def label(name: str, at_ms: int, verdict: str = "fraud") -> tuple[str, dict[str, str]]:
    return "label", {"event": f"payment/{name}", "verdict": verdict, "source": "analyst", "known_at": text_of(at_ms)}


def payment(name: str, at_ms: int, amount: str = "1.00") -> tuple[str, dict[str, str]]:
    return "payment", {"id": name, "at": text_of(at_ms), "amount": amount, "card_type": "Visa"}


def once(bank: Bank) -> int:
    """One round of `run`, whose process then ends; gives how many rows are new or changed."""

    (built,) = itertools.islice(Summaries(bank.project.context).run(), 1)
    return built.changed


@contextmanager
def dying_at(number: int) -> Iterator[list[int]]:
    """What is inside ends at a statement of the database; what it gives is empty where there were that many."""
    left = list(range(number + 1))

    def count(*_: object) -> None:
        left.pop()
        if not left:
            raise KilledError

    event.listen(Engine, "before_cursor_execute", count)
    try:
        with suppress(KilledError):
            yield left
    finally:
        event.remove(Engine, "before_cursor_execute", count)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "seed"), [("ingest_time", 1), ("event_time", 2)])
def test_every_window_of_a_week_has_the_row_of_the_definition(tmp_path: Path, by: str, seed: int, monkeypatch):
    monkeypatch.setattr(summaries, "READ", 17)
    monkeypatch.setattr(summaries, "NEAR", 3)
    bank = bank_in(tmp_path / "bank", by=by)
    bank.write(week(seed))
    first, last = FIRST_MS - 72 * EVERY_MS, bank.now_ms - bank.now_ms % EVERY_MS + EVERY_MS

    built = Summaries(bank.project.context).build(text_of(first), text_of(last))

    assert built == ((last - first) // EVERY_MS, 2 * built.windows, built.rows)
    found = summarized(bank)
    assert found == by_definition(bank, first, last, by)
    assert sum(row[1][1] for row in found) == len(bank.events) > 100
    assert sum(row[1][2] for row in found) == sum(Decimal(item["amount"]) for item in bank.events)


@pytest.mark.slow
@pytest.mark.parametrize(("by", "seed"), [("ingest_time", 3), ("event_time", 4)])
def test_a_run_with_pauses_and_restarts_misses_no_window_and_doubles_none(tmp_path: Path, by: str, seed: int):
    bank, chance = bank_in(tmp_path / "bank", by=by), random.Random(seed)
    batches = week(seed, 40)
    pieces = [batches[begin : begin + 5] for begin in range(0, len(batches), 5)]
    bank.write(pieces.pop(0))

    def wait(_: float) -> None:
        bank.write(pieces.pop(0))
        if chance.random() < 0.5 or not pieces:
            raise KilledError

    while pieces:
        with pytest.raises(KilledError):
            list(Summaries(bank.project.context).run(wait=wait))
    bank.now_ms += 4 * EVERY_MS  # also for what the slow clock took
    once(bank)

    found = summarized(bank)
    assert found == by_definition(bank, found[0][0], (bank.now_ms - 10_000) // EVERY_MS * EVERY_MS, by)
    assert sum(row[1][1] for row in found) == len(bank.events) > 50
    assert max(row["revision"] for row in rows_of(bank.address, bank.tables[0])) > 0


@pytest.mark.slow
def test_events_that_moved_to_the_lake_and_labels_of_them_are_counted(tmp_path: Path):
    bank = bank_in(tmp_path / "bank")
    with (bank.folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("lake: ./lake\nkeep: 1h\n")
    bank.write(week(8, 40))
    assert bank.project.retention.prune().upto > 50
    early = next(item["id"] for item in bank.events if bank.verdicts.get(item["id"]) != "fraud")
    bank.now_ms += 2 * EVERY_MS
    once(bank)
    bank.write([(bank.now_ms, [label(early, bank.now_ms)])])
    once(bank)

    found = summarized(bank)
    assert found == by_definition(bank, found[0][0], found[-1][0] + EVERY_MS)
    assert sum(row[1][1] for row in found) == len(bank.events) > 50


def test_a_rebuild_leaves_every_row_as_it_is_and_a_correction_counts(tmp_path: Path):
    bank = bank_in(tmp_path / "bank")
    bank.write(week(5, 30))
    bank.now_ms += EVERY_MS
    assert Summaries(bank.project.context).build().changed > 0
    before = [rows_of(bank.address, table) for table in bank.tables]
    bank.now_ms += 3_600_000

    assert Summaries(bank.project.context).build(text_of(FIRST_MS), text_of(before[0][-1]["window_end"])).changed == 0
    assert [rows_of(bank.address, table) for table in bank.tables] == before

    name = next(item["id"] for item in bank.events if bank.verdicts.get(item["id"]) != "fraud")
    bank.write([(bank.now_ms, [label(name, bank.now_ms)])])
    once(bank)
    after = rows_of(bank.address, bank.tables[0])[: len(before[0])]
    (changed,) = [row for row, old in zip(after, before[0], strict=True) if row != old]
    assert (changed["revision"], changed["created_at"]) == (1, bank.now_ms)


@pytest.mark.slow
def test_a_runner_that_is_killed_between_any_two_statements_does_no_harm(tmp_path: Path):
    bank = bank_in(tmp_path / "bank")
    minute = 60_000
    bank.write([(FIRST_MS + minute, [payment("a", FIRST_MS), payment("b", FIRST_MS, "95.00")])])
    bank.now_ms = FIRST_MS + EVERY_MS + minute
    for number in itertools.count():
        bank.tables = (f"t{number}", f"t{number}_f")
        bank.settings()
        bank.now_ms = FIRST_MS + EVERY_MS + minute
        with dying_at(number) as left:
            once(bank)
        bank.now_ms += 2 * EVERY_MS
        once(bank)
        assert summarized(bank) == by_definition(bank, FIRST_MS, FIRST_MS + 3 * EVERY_MS), number
        if left:
            break
    assert number > 10


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ({"every": "7m"}, "every", "a window lasts a whole part of a day"),
        ({"every": "500ms"}, "every", "a window lasts a whole part of a day"),
        ({"event": "paymnt"}, "event", "'paymnt' is not an event type. Did you mean payment?"),
        ({"amount": "country"}, "amount", "no field 'country' of type money. Name one of amount."),
        ({"columns": {"land": "contry"}}, "columns.land", "no field 'contry'. Did you mean country?"),
        ({"columns": {"price": "amount"}}, "columns.price", "too many values to group by"),
        ({"columns": {"revision": "country"}}, "columns", "revision"),
        ({"fraud_table": "transaction_summaries"}, "fraud_table", "two tables"),
        ({"fraud_table": "x; DROP"}, "fraud_table", "a table's name"),
        ({"url": "nowhere"}, "url", "an address"),
        ({"by": "clock"}, "by", "ingest_time or event_time"),
    ],
)
def test_what_the_settings_have_wrong_is_told_with_its_place_and_its_cure(tmp_path: Path, more, path: str, words: str):
    bank = bank_in(tmp_path / "bank", **more)

    (problem,) = check(bank.project.context).errors

    assert problem.path.startswith(f"summaries.{path}")
    assert words in f"{problem.message} {problem.hint}"


def test_values_beyond_the_limit_are_counted_together_and_the_most_frequent_stay(monkeypatch):
    monkeypatch.setattr(summaries, "VALUES_MAX", 3)
    settings = SummarySettings("", "payment", {"land": "land"})
    tallies = summaries.Tallies(settings, [0, EVERY_MS], 2)
    tallies.add(MemoryReader("a", "b", "b", "c", "c", "d", None), [summaries.SeqRun(1, 9, 0)], set())
    first, none = tallies.rows()

    assert first.all.counts == {"land": {"(other)": 3, "b": 2, "c": 2}}
    assert (none.all.count, none.all.average) == (0, None)


class MemoryReader:
    """A log of payments from these lands, none of them decided."""

    def __init__(self, *lands: str | None) -> None:
        self._bodies = [b"{}" if land is None else f'{{"land": "{land}", "amount": "1.00"}}'.encode() for land in lands]

    def read(self, after: int, upto: int) -> list[list[Record]]:
        return [
            [Record(n, "event", "payment", str(n), 0, body, decided=False) for n, body in enumerate(self._bodies, 1)]
        ]

    @property
    def decisions(self) -> MemoryReader:
        return self

    def outcome_lines(self, after: int, upto: int) -> list[bytes]:
        return []


def test_a_project_without_summaries_and_tables_of_another_log_are_told_with_the_cure(tmp_path: Path):
    bank, other = bank_in(tmp_path / "bank"), bank_in(tmp_path / "other", f"sqlite:///{tmp_path}/bank/summaries.db")
    bank.write(week(6, 9))
    other.write([(FIRST_MS, [payment("a", FIRST_MS)])])
    once(bank)
    with pytest.raises(UsageError, match=r"holds summaries of another log.*Name other tables"):
        once(other)
    (other.folder / "shroff.yaml").write_text("shroff: 1\nname: bank\nmoney: GBP\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"no summaries. Add them to shroff.yaml, as in 'summaries: "):
        once(other)


def test_doctor_says_how_far_summaries_are_behind(tmp_path: Path):
    bank = bank_in(tmp_path / "bank")
    bank.write([(FIRST_MS, [payment("a", FIRST_MS)])])
    bank.now_ms = FIRST_MS + EVERY_MS + 10_000
    assert Summaries(bank.project.context).finding().words == "not there yet; 'shroff summaries run' writes them"
    Summaries(bank.project.context).build()
    built = "built, without those to come; 'shroff summaries run' writes them"
    assert Summaries(bank.project.context).finding().words == built
    once(bank)
    assert Summaries(bank.project.context).finding().state == "ok"

    bank.now_ms += 3 * EVERY_MS
    found = Summaries(bank.project.context).finding()
    assert (found.state, found.words) == ("note", "written up to 2026-03-28T22:00:00Z, 3 windows behind")


# ---- compared with the log


def moment(at_ms: int) -> str:
    """A moment in a table of SQLite, as a pattern."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S%%")


def test_rows_that_differ_from_the_log_are_counted_window_by_window(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(summary_writer, "_BACK", 2)
    bank, times = bank_in(tmp_path / "bank"), [FIRST_MS + n * EVERY_MS for n in range(6)]
    bank.write([(at, [payment(f"{at}-{n}", at) for n in range(2)]) for at in times[:5]])
    summaries = Summaries(bank.project.context)
    before = summaries.unreconciled()
    bank.now_ms = times[5] + 10_000
    once(bank)
    found = [summaries.unreconciled()]

    def change(statement: str) -> None:
        with closing(SqlDatabase(bank.address, "a test")) as database, database.begun() as connection:
            connection.exec_driver_sql(statement)
        found.append(summaries.unreconciled())

    column = "transaction_count"
    change(f"UPDATE {bank.tables[0]} SET {column} = {column} + 3 WHERE window_start LIKE '{moment(times[4])}'")
    change(f"UPDATE {bank.tables[0]} SET {column} = {column} - 1 WHERE window_start LIKE '{moment(times[3])}'")
    change(f"DELETE FROM {bank.tables[0]} WHERE window_start LIKE '{moment(times[2])}'")
    change(f"DELETE FROM {bank.tables[0]} WHERE window_start LIKE '{moment(times[0])}'")  # before the first comparison

    assert before is None
    assert found == [0, 3, 4, 6, 6]


def test_windows_that_are_written_later_and_events_that_were_committed_late_are_compared(tmp_path: Path, monkeypatch):
    bank = bank_in(tmp_path / "bank")
    bank.write([(FIRST_MS, [payment("a", FIRST_MS), label("a", FIRST_MS)])])
    summaries = Summaries(bank.project.context)
    bank.now_ms = FIRST_MS + EVERY_MS + 10_000
    once(bank)
    found = [summaries.unreconciled()]
    bank.write([(FIRST_MS + 1, [payment("b", FIRST_MS)]), (FIRST_MS + EVERY_MS, [payment("c", FIRST_MS)])])
    found.append(summaries.unreconciled())
    bank.now_ms = FIRST_MS + 2 * EVERY_MS + 10_000
    once(bank)
    found.append(Summaries(bank.project.context).unreconciled())
    read: list[int] = []
    monkeypatch.setattr(SqlRecords, "lines", lambda log, after, upto, size: read.append(upto - after) or [])
    found.append(summaries.unreconciled())

    assert found == [0, 1, 0, 1]
    assert read == [1]  # the window that is new


def test_a_run_to_a_moment_that_has_passed_waits_for_nothing(tmp_path: Path):
    bank, waited = bank_in(tmp_path / "bank"), []
    bank.write([(FIRST_MS, [payment("a", FIRST_MS)])])
    bank.now_ms = FIRST_MS + 3 * EVERY_MS
    built = list(Summaries(bank.project.context).run(last=text_of(FIRST_MS + EVERY_MS), wait=waited.append))

    assert ([item.windows for item in built], waited) == ([1], [])


def test_a_run_that_begins_before_the_first_event_waits_for_it(tmp_path: Path):
    bank, said = bank_in(tmp_path / "bank"), []

    def wait(seconds: float) -> None:
        bank.write([(FIRST_MS, [payment("a", FIRST_MS)])])
        bank.now_ms = FIRST_MS + 3 * EVERY_MS

    built = next(iter(Summaries(bank.project.context).run(wait=wait, say=said.append)))

    assert built.windows > 0
    assert [words.partition(";")[0] for words in said] == ["no event yet"]


def test_a_build_by_event_time_ends_with_the_newest_event_and_leaves_no_empty_rows_behind_it(tmp_path: Path):
    bank = bank_in(tmp_path / "bank", by="event_time")
    bank.write([(FIRST_MS, [payment("a", FIRST_MS), payment("b", FIRST_MS + 2 * EVERY_MS)])])
    bank.now_ms += 1_000 * EVERY_MS
    built = [
        Summaries(bank.project.context).build().windows,
        Summaries(bank.project.context).build(None, "2100-01-01").windows,
    ]
    rows = rows_of(bank.address, bank.tables[0])

    assert built == [3, 3]
    assert [row["transaction_count"] for row in rows] == [1, 0, 1]


def test_summaries_by_event_time_are_compared_in_windows_that_began_since(tmp_path: Path):
    bank = bank_in(tmp_path / "bank", by="event_time")
    bank.write([(FIRST_MS, [payment("a", FIRST_MS)])])
    summaries, times = Summaries(bank.project.context), [FIRST_MS + n * EVERY_MS for n in range(4)]
    found = [summaries.unreconciled()]
    bank.now_ms = times[1] + 10_000
    once(bank)
    found.append(summaries.unreconciled())
    bank.write([(at, [payment(f"{at}-{n}", at) for n in range(2)]) for at in times[1:3]])
    bank.now_ms = times[3] + 10_000
    once(bank)
    found.append(summaries.unreconciled())
    bank.write([(times[3] + 1, [payment("late", times[1]), payment("later", times[3])])])
    found.append(summaries.unreconciled())  # the next round counts the late one
    once(bank)
    found.append(summaries.unreconciled())
    with closing(SqlDatabase(bank.address, "a test")) as database, database.begun() as connection:
        for change in ("= transaction_count + 5", "= transaction_count - 1"):
            at = times[1] if "+" in change else times[2]
            where = f"WHERE window_start LIKE '{moment(at)}'"
            connection.exec_driver_sql(f"UPDATE {bank.tables[0]} SET transaction_count {change} {where}")
    found.append(summaries.unreconciled())

    assert found == [None, 0, 0, 0, 0, 6]


@pytest.mark.parametrize(
    "between, ranges", [(GAP, [(50_000, 51_025)]), (GAP + 1, [(50_000, 50_000), (51_026, 51_026)])]
)
def test_events_of_a_window_that_are_near_each_other_are_one_range(between, ranges):
    """So unordered events do not take memory each."""
    found = EventTimeWindows(SummarySettings("", "payment", {"land": "land"}))
    second = 50_000 + between + 1
    records = [Record(seq, "event", "payment", f"p{seq}", FIRST_MS, b"", decided=True) for seq in (50_000, second)]
    log = SimpleNamespace(read=lambda after, upto: [records])
    assert found.follow(log, second, after=second - 1) == {FIRST_MS}
    assert [(run.first, run.last) for run in found.of([FIRST_MS])] == ranges
