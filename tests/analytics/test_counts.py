"""Event counts are those of the plain definition, wherever the events lie: in the log, in the lake, or in both."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import StateError, UsageError
from shroff.log.event_notes import EVENT_SOURCES, NEWEST
from shroff.services.lake.operations import WriteLake
from shroff.services.project import Project
from shroff.services.project_files import intake_of
from shroff_plugins.analytics import count_operations, counts
from shroff_plugins.analytics.count_operations import ShowCountable
from shroff_plugins.analytics.counts import CountQuestion, CountRow
from tests.support.effort import long_after
from tests.support.spread import ingest, spread

EVENTS = """\
payment:
  id: id
  time: at
  decide: true
  fields: {id: text, at: time, amount: money, channel: text?, retry: boolean?, time: text?}
login:
  id: id
  time: at
  fields: {id: text, at: time, channel: text?}
"""
SETTINGS = "shroff: 1\nname: bank\nmoney: EUR\nlateness: 1d\n"
BEGIN = datetime(2026, 3, 27, 20, tzinfo=UTC)  # before the clocks of Europe change


def lines(seed: int, count: int = 400) -> list[dict[str, Any]]:
    """Events of two types over five days, some at the very ends of days."""
    chance, found = random.Random(seed), []
    for number in range(count):
        at = BEGIN + timedelta(hours=120 * number / count, milliseconds=chance.choice([0, -1, 1]))
        if chance.random() < 0.2:
            at = at.replace(hour=chance.choice([0, 22, 23]), minute=0, second=0, microsecond=0)
        fields: dict[str, Any] = {"id": f"e{number}", "at": at.isoformat().replace("+00:00", "Z")}
        if chance.random() < 0.8:
            fields["channel"] = chance.choice(["web", "pos", 'ä, "quoted"'])
        if (type_ := chance.choice(["payment", "login"])) == "payment":
            fields |= {"amount": "1.00", "time": chance.choice(["day", "night"])}
            if chance.random() < 0.8:
                fields["retry"] = chance.random() < 0.5
        found.append({type_: fields})
    return sorted(found, key=lambda line: next(iter(line.values()))["at"])


def by_definition(
    events: list[dict[str, Any]], first: date, last: date, zone: str, field: str = ""
) -> Counter[tuple[date, str, Any]]:
    found: Counter[tuple[date, str, Any]] = Counter()
    for event in events:
        ((type_, fields),) = event.items()
        day = datetime.fromisoformat(fields["at"]).astimezone(ZoneInfo(zone)).date()
        if first <= day <= last and (field != "time" or type_ == "payment"):
            value = fields.get(field)
            found[day, type_, str(value).lower() if isinstance(value, bool) else value] += 1
    return found


def event_counts(project: Project, first: Any = None, last: Any = None, **how: Any) -> list[CountRow]:
    return project.run(CountQuestion(start_date=first and day(first), end_date=last and day(last), **how)).rows


def day(named: date | str) -> date:
    return date.fromisoformat(named) if isinstance(named, str) else named


def counted(project: Project, *days: date, **how: Any) -> Counter[tuple[date, str, Any]]:
    rows = event_counts(project, *days, **how)
    found = Counter({(row.day, row.type, row.value or None): row.count for row in rows})
    assert len(found) == len(rows), "each row once"
    return found


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    bank = tmp_path / "bank"
    bank.mkdir()
    (bank / "shroff.yaml").write_text(SETTINGS, encoding="utf-8")
    (bank / "events.yaml").write_text(EVENTS, encoding="utf-8")
    return bank


@pytest.mark.parametrize("where", ["log", "lake", "both", "pruned"])
@pytest.mark.parametrize("seed", long_after(1, [1, 2]))
def test_counts_are_those_of_the_definition_wherever_events_lie(bank: Path, seed: int, where: str):
    events = lines(seed)
    spread(bank, events, 250, where)
    project = shroff.open(bank)

    first, last = date(2026, 3, 28), date(2026, 3, 31)
    for zone in ("UTC", "Europe/Berlin", "Asia/Kathmandu"):
        assert counted(project, first, last, zone=zone) == by_definition(events, first, last, zone)
        for field in ("channel", "retry", "time"):
            wanted = by_definition(events, first, last, zone, field)
            if field == "retry":
                wanted = Counter({key: count for key, count in wanted.items() if key[1] == "payment"})
            assert counted(project, first, last, zone=zone, by=field) == wanted, field
        at_web = [event for event in events for fields in event.values() if fields.get("channel") == "web"]
        assert counted(project, first, last, zone=zone, where={"channel": "web"}) == by_definition(
            at_web, first, last, zone
        )
        retried = [event for event in at_web if "payment" in event and event["payment"].get("retry") is True]
        of_both = {"channel": "web", "retry": "true"}
        assert counted(project, first, last, zone=zone, by="time", where=of_both) == by_definition(
            retried, first, last, zone, "time"
        )


def test_counts_of_one_value_of_a_field_are_a_command_too(bank: Path, capsys: pytest.CaptureFixture[str]):
    ingest(bank, lines(1, 40))
    days = ["--from", "2026-03-27", "--to", "2026-04-02", "--json"]
    assert run(["-C", str(bank), "counts", *days, "--where", "channel=web", "--where", "retry=true"]) == 0
    wanted = [line for line in lines(1, 40) if line.get("payment", {}).get("retry") is True]

    assert msgspec.json.decode(capsys.readouterr().out)["total"] == sum(
        line["payment"].get("channel") == "web" for line in wanted
    )
    assert run(["-C", str(bank), "counts", *days, "--where", "channel"]) == 2
    assert "Write FIELD=VALUE" in capsys.readouterr().out


def test_whole_days_are_answered_by_what_the_log_has_noted(bank: Path, monkeypatch: pytest.MonkeyPatch):
    events, days, read = lines(3, 3_000), (date(2026, 3, 28), date(2026, 3, 31)), list[int]()
    told: list[dict[str, Any]] = []
    for part in (events[:2_900], events[2_900:]):
        ingest(bank, part)
        told += part
        with monkeypatch.context() as patch:
            patch.setattr(counts.DayCounts, "read_on", reading(counts.DayCounts.read_on, read))
            assert counted(shroff.open(bank), *days) == by_definition(told, *days, "UTC")
    assert read == [0, 100]


def reading(read_on: Callable[..., counts.DayCounts], read: list[int]) -> Callable[..., counts.DayCounts]:
    """The same; keeps how many places were read."""

    def said(tally: counts.DayCounts, log: Any) -> counts.DayCounts:
        before = tally.upto
        found = read_on(tally, log)
        read.append(found.upto - before)
        return found

    return said


WHERE = {"app": "pulled/app/2026-03-01", "partner": "hooks/partner", "api": "http", "kafka": "payments/0"}


def append(bank: Path, events: list[dict[str, Any]], names: list[str], size: int) -> None:
    """Take events that came by these sources, in batches of a process of their own."""
    context = shroff.open(bank).context
    intake = intake_of(context, keeps_hashes=False)
    given = [
        intake.submit(type_, fields, source=WHERE[name], place="1", raw=b"", is_strict=True)
        for event, name in zip(events, names, strict=True)
        for type_, fields in event.items()
    ]
    with context.log.writing() as (writer, _):
        writer.by = "kafka"
        for at in range(0, len(given), size):
            writer.write(given[at : at + size])


# Where events lie is tried above, too.
@pytest.mark.parametrize("where", long_after(2, ["log", "lake", "both", "pruned"]))
def test_counts_by_source_are_those_of_the_definition_and_old_events_have_none(bank: Path, where: str) -> None:
    events, chance = lines(5), random.Random(where)
    names: list[Any] = [chance.choice(list(WHERE)) if chance.random() < 0.2 else "app" for _ in events]
    append(bank, events[:100], names[:100], 50)
    (path,) = (bank / ".shroff").glob("*.db")
    with closing(sqlite3.connect(path)) as log, log:  # as a version before this one left it
        log.execute("DELETE FROM offsets WHERE source = ?", (EVENT_SOURCES,))
    names[:100] = [None] * 100
    append(bank, events[100:200], names[100:200], 7)
    spread(bank, [], 0, where)
    append(bank, events[200:], names[200:], 64)
    project = shroff.open(bank)

    first, last = date(2026, 3, 28), date(2026, 3, 31)
    told = [
        {type_: {**fields, "source": name}}
        for event, name in zip(events, names, strict=True)
        for type_, fields in event.items()
    ]
    for zone in ("UTC", "Europe/Berlin"):
        assert counted(project, first, last, zone=zone, by="source") == by_definition(told, first, last, zone, "source")
    for name in WHERE:
        some = [event for event, of in zip(events, names, strict=True) if of == name]
        assert counted(project, first, last, source=name) == by_definition(some, first, last, "UTC")
        by_channel = counted(project, first, last, source=name, by="channel")
        assert by_channel == by_definition(some, first, last, "UTC", "channel")
    assert project.run(ShowCountable()).sources == sorted(WHERE)


def test_a_log_of_one_source_keeps_one_line_about_it(bank: Path) -> None:
    for begin in range(0, 60, 20):
        append(bank, lines(3, 60)[begin : begin + 20], ["app"] * 20, 5)
    with shroff.open(bank).log.reading() as log:
        assert log.offsets.of(EVENT_SOURCES) == {f"{2:019}": '[[2,"app"]]', NEWEST: "app"}


def test_a_week_begins_on_its_monday_and_is_cut_at_the_ends(bank: Path):
    events = lines(3)
    ingest(bank, events)
    first, last = date(2026, 3, 29), date(2026, 3, 31)  # a Sunday to a Tuesday

    weeks = counted(shroff.open(bank), first, last, by="week", event_types=("payment",))

    days = by_definition(events, first, last, "UTC")
    sunday = days[first, "payment", None]
    assert weeks == {
        (date(2026, 3, 23), "payment", None): sunday,
        (date(2026, 3, 30), "payment", None): sum(n for (_, type_, _), n in days.items() if type_ == "payment")
        - sunday,
    }


def test_zeros_give_each_type_a_row_on_each_day(bank: Path):
    ingest(bank, [{"payment": {"id": "p", "at": "2026-03-02T00:00:00Z", "amount": "1.00"}}])
    rows = event_counts(shroff.open(bank), "2026-03-01", "2026-03-03", zeros=True)

    assert [(row.day.day, row.type, row.count) for row in rows] == [
        (1, "payment", 0), (1, "login", 0), (2, "payment", 1), (2, "login", 0), (3, "payment", 0), (3, "login", 0),
    ]  # fmt: skip


def test_without_days_the_seven_up_to_the_newest_event_are_counted(bank: Path):
    at = [f"2026-03-{day:02}T23:30:00Z" for day in (1, 3, 4, 10)]
    ingest(bank, [{"payment": {"id": f"p{n}", "at": moment, "amount": "1.00"}} for n, moment in enumerate(at)])
    project = shroff.open(bank)

    assert [count.day.day for count in event_counts(project)] == [4, 10]
    assert [count.day.day for count in event_counts(project, zone="Europe/Berlin")] == [5, 11]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"event_types": ("paymen",)}, "'paymen' is not an event type. Did you mean payment?"),
        ({"by": "chanel"}, "no event type has a field 'chanel'. Did you mean channel?"),
        ({"by": "amount"}, "payment.amount is of type money: count by a text, choice, boolean or integer."),
        ({"by": "retry", "event_types": ("login",)}, "login has no field 'retry'."),
        ({"where": {"chanel": "web"}}, "no event type has a field 'chanel'. Did you mean channel?"),
        ({"source": "fils"}, "no event came from a source 'fils'. Did you mean files?"),
        ({"zone": "Mars"}, "'Mars' is not a time zone"),
        ({"zone": "../../etc/passwd"}, "'../../etc/passwd' is not a time zone"),
        ({"first": "2026-04-01", "last": "2026-03-01"}, "the last day, 2026-03-01, is before the first, 2026-04-01."),
        ({"first": "1990-01-01", "last": "2026-03-01"}, "at most 3,700 are counted at once"),
        ({"last": "9999-12-31"}, "the last day: 9999-12-31 is not between the years 1900 and 9000."),
        ({"last": date(1, 1, 2)}, "the last day: 0001-01-02 is not between the years 1900 and 9000."),
    ],
)
def test_what_cannot_be_counted_is_refused_with_its_cure(bank: Path, how: dict[str, Any], words: str):
    ingest(bank, lines(1, 5))
    with pytest.raises(UsageError) as raised:
        event_counts(shroff.open(bank), **how)
    assert words in str(raised.value)


def test_a_field_of_too_many_values_is_refused(bank: Path):
    ingest(bank, [{"login": {"id": f"l{n}", "at": "2026-03-02T00:00:00Z", "channel": f"{n}"}} for n in range(1_001)])
    with pytest.raises(UsageError, match="channel has more than 1,000 values in these days"):
        event_counts(shroff.open(bank), by="channel")


def test_a_lake_of_another_log_is_refused(bank: Path, tmp_path: Path):
    ingest(bank, lines(1, 50))
    with shroff.open(bank).lake.open(str(tmp_path / "lake")) as lake:
        lake.write()
    (bank / ".shroff" / "log.db").unlink()
    ingest(bank, lines(2, 60))
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(f"lake: {tmp_path / 'lake'}\n")

    with pytest.raises(StateError, match="was written from another log"):
        event_counts(shroff.open(bank))


def test_an_answer_of_very_many_rows_is_refused(bank: Path, monkeypatch: pytest.MonkeyPatch):
    ingest(bank, lines(1, 50))
    monkeypatch.setattr(counts, "ROWS_MAX", 9)
    project = shroff.open(bank)

    assert len(event_counts(project, "2026-03-28", "2026-03-31", zeros=True)) == 8
    with pytest.raises(UsageError, match="the answer would have 10 rows, but the limit is 9: select fewer days"):
        event_counts(project, "2026-03-27", "2026-03-31", zeros=True)


def test_files_of_the_lake_that_have_to_be_read_count_towards_what_is_read_at_most(
    bank: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(count_operations, "is_served", lambda _: True)
    ingest(bank, lines(1, 50))
    with (bank / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("lake: ./lake\n")
    shroff.open(bank).run(WriteLake())
    project = shroff.open(bank)
    days = "2026-03-27", "2026-04-01"

    monkeypatch.setattr(count_operations, "PLACES_MAX", 0)
    assert sum(count.count for count in event_counts(project, *days)) == 50
    monkeypatch.setattr(count_operations, "PLACES_MAX", 49)
    for how in ({"by": "channel"}, {"zone": "Europe/Berlin"}):
        with pytest.raises(UsageError, match="50 events would have to be read, but the limit here is 49"):
            event_counts(project, *days, **how)
