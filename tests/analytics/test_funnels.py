"""Funnels are what two other statements of the definition give: plain Python over lists, and SQL by DuckDB."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import msgspec
import numpy as np
import pyarrow as pa
import pytest

import shroff
from shroff.errors import UsageError
from shroff.services.project import Project
from shroff_plugins.analytics import funnel_operations
from shroff_plugins.analytics.funnel_events import StepEvents
from shroff_plugins.analytics.funnel_operations import FunnelDays
from shroff_plugins.analytics.funnel_steps import drop_offs, reached
from tests.support.spread import ingest, spread

DAY = 10  # of a drawn history
Row = tuple[int, int, int]  # time, user, steps as bits


def drawn(random: Random, histories: int = 1) -> tuple[list[Row], list[int]]:
    """Events in the order of (time, place), close together, and the begins of days with the end of the last.

    Each history has four users of its own, and up to 25 events.
    """
    days = random.randint(1, 4)
    rows = [
        (random.randint(-DAY, days * DAY + 2), 4 * number + random.randrange(4), random.randint(1, 15))
        for number in range(histories)
        for _ in range(random.randint(0, 25))
    ]
    return sorted(rows, key=lambda row: row[0]), [number * DAY for number in range(days + 1)]


def columns(rows: Sequence[Row], end: int) -> StepEvents:
    kept = [row for row in rows if row[0] < end]
    of = [np.array([row[at] for row in kept], np.int64) for at in range(3)]
    return StepEvents(of[0], of[1], of[2], np.full(len(kept), -1), list(range(1 + max(of[1], default=0))), [])


# ---- by the definition, one user and one event after the other


def dropped_by(rows: Sequence[Row], step: int, start: int, end: int, is_ever: bool) -> set[int]:
    """Who has a step in [start, end) and no next one after it, or with `ever` none at all, before the end."""
    found = set()
    for place, (at, user, steps) in enumerate(rows):
        if steps >> step & 1 and start <= at < end:
            later = rows if is_ever else rows[place + 1 :]
            if not any(other == user and bits >> step + 1 & 1 and when < end for when, other, bits in later):
                found.add(user)
    return found


def days_by_definition(rows: Sequence[Row], step: int, starts: Sequence[int], is_ever: bool) -> list[Any]:
    found = []
    for begin, end in pairwise(starts):
        before = dropped_by(rows, step, starts[0], begin, is_ever)
        came = {user for time, user, steps in rows if begin <= time < end and steps >> step + 1 & 1}
        found.append((dropped_by(rows, step, starts[0], end, is_ever), before & came, before - came))
    return found


def reached_by_definition(rows: Sequence[Row], count: int, start: int, end: int, within: int | None) -> list[Any]:
    """Of each step the users with their first time there, and the time since the latest step before it that counts."""
    rows = [row for row in rows if start <= row[0] < end]

    def before(step: int, place: int) -> list[int]:
        time, user, _ = rows[place]
        return [
            at
            for at in range(place)
            if rows[at][1] == user and (within is None or time - rows[at][0] <= within) and counts(step - 1, at)
        ]

    def counts(step: int, place: int) -> bool:
        return bool(rows[place][2] >> step & 1) and (step == 0 or bool(before(step, place)))

    found = []
    for step in range(count):
        first: dict[int, tuple[int, int]] = {}
        for place, (at, user, _) in enumerate(rows):
            if user not in first and counts(step, place):
                first[user] = at, at - rows[max(before(step, place))][0] if step else 0
        found.append(first)
    return found


# ---- by SQL

DROPPED = """
SELECT DISTINCT s.user FROM events s WHERE s.steps & {step} > 0 AND s.time >= {start} AND s.time < {end}
AND NOT EXISTS (
  SELECT 1 FROM events n
  WHERE n.user = s.user AND n.steps & {next} > 0 AND n.time < {end} AND ({ever} OR n.place > s.place)
)"""
CAME = "SELECT DISTINCT user FROM events WHERE steps & {next} > 0 AND time >= {begin} AND time < {end}"
CHAINS = """
WITH RECURSIVE here AS (SELECT * FROM events WHERE time >= {start} AND time < {end}),
chains AS (
  SELECT 0 AS step, place, user, time, 0 AS taken FROM here WHERE steps & 1 > 0
  UNION
  SELECT step + 1, e.place, e.user, e.time, e.time - c.time FROM chains c JOIN here e
  ON e.user = c.user AND e.place > c.place AND e.time - c.time <= {within} AND e.steps & (1 << (step + 1)) > 0
  WHERE step + 1 < {count}
)
SELECT step, user, first(time ORDER BY place, taken), first(taken ORDER BY place, taken) FROM chains GROUP BY step, user
"""


def by_sql(rows: Sequence[Row], starts: Sequence[int], is_ever: bool, within: int | None) -> tuple[Any, Any]:
    """Days of the first step and users of each step, of one history."""
    with duckdb.connect() as sql:
        columns = [list(range(len(rows))), *([row[at] for row in rows] for at in range(3))]
        sql.register("events", pa.table(dict(zip(("place", "time", "user", "steps"), columns, strict=True))))

        def users(query: str, **more: Any) -> set[int]:
            given = {"step": 1, "next": 2, "start": starts[0], "ever": is_ever} | more
            return {row[0] for row in sql.execute(query.format(**given)).fetchall()}

        days = []
        for begin, end in pairwise(starts):
            before, came = users(DROPPED, end=begin), users(CAME, begin=begin, end=end)
            days.append((users(DROPPED, end=end), before & came, before - came))
        limit = 10**9 if within is None else within
        found: list[dict[int, Any]] = [{} for _ in range(4)]
        chains = CHAINS.format(start=starts[0], end=starts[-1], within=limit, count=4)
        for step, user, time, taken in sql.execute(chains).fetchall():
            found[step][user] = time, taken
    return days, found


# ---- laws


def fast_days(rows: Sequence[Row], step: int, starts: Sequence[int], is_ever: bool) -> list[Any]:
    found = drop_offs(columns(rows, starts[-1]), step, np.array(starts), is_ever=is_ever)

    def as_set(mask: Any) -> set[int]:
        return set(np.flatnonzero(mask).tolist())

    return [(as_set(item.dropped), as_set(item.recovered), as_set(item.before & ~item.recovered)) for item in found]


def fast_steps(rows: Sequence[Row], starts: Sequence[int], within: int | None) -> list[Any]:
    found = reached(columns(rows, starts[-1]), 4, starts[0], within)
    return [
        dict(zip(item.users.tolist(), zip(item.first_ms.tolist(), item.taken_ms.tolist(), strict=True), strict=True))
        for item in found
    ]


@pytest.mark.slow
def test_thousands_of_histories_are_counted_as_the_plain_definition_counts_them():
    for seed in range(2_000):
        random = Random(seed)
        rows, starts = drawn(random)
        step, is_ever, within = random.randrange(3), random.random() < 0.5, random.choice([None, 0, 1, 3, DAY])

        days = fast_days(rows, step, starts, is_ever)
        assert days == days_by_definition(rows, step, starts, is_ever), seed
        assert fast_steps(rows, starts, within) == reached_by_definition(rows, 4, starts[0], starts[-1], within), seed
        for (dropped, _, _), (_, recovered, still) in pairwise(days):
            assert dropped == recovered | still, seed


@pytest.mark.slow
def test_sql_says_the_same_of_thousands_of_histories():
    for seed in range(8):
        random = Random(seed)
        rows, starts = drawn(random, histories=300)
        is_ever, within = seed % 2 == 0, random.choice([None, 0, 1, 3, DAY])

        days, steps = by_sql(rows, starts, is_ever, within)
        assert days == fast_days(rows, 0, starts, is_ever), seed
        assert steps == fast_steps(rows, starts, within), seed


# ---- wherever events lie

EVENTS = """\
step:
  id: id
  time: at
  fields:
    { id: text, at: time, user: text?, was: text?, shop: text, name: "choice(a, b, c)", amount: money, web: boolean? }
bought:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, user: text, shop: text, amount: money, web: boolean? }
entities:
  person: { step: [user, shop], bought: [user, shop] }
"""
FUNNELS = """\
typed:                              # texts alone: the lake's columns
  user: user
  steps: [{ name: a, event: step, where: this.name == 'a' }, { name: b, event: [step], where: "step.name in ['b']" }]
odd:                                # an amount: the lake's bodies
  user: person
  steps:
    - { name: small, event: [step, bought], where: this.amount < 3 }
    - { name: c, event: step, where: this.name == 'c' and this.amount >= 2 }
    - bought
  within: 3h
  next: ever
  split: web
merging:                            # users that turn out to be another one
  user: user
  merged: was
  steps: [{ name: a, event: step, where: this.name == 'a' }, { name: b, event: step, where: this.name == 'b' }]
"""
BEGIN = datetime(2026, 3, 26, 20, tzinfo=UTC)  # before the clocks of Europe change
Fields = dict[str, Any]


def lines(seed: int, count: int = 400) -> list[Fields]:
    chance, found = Random(seed), []
    for number in range(count):
        at = BEGIN + timedelta(minutes=24 * number, milliseconds=chance.choice([0, -1, 1]))
        if chance.random() < 0.4:  # many at one time, and at the very ends of days
            at = at.replace(hour=chance.choice([0, 22]), minute=0, second=0, microsecond=0)
        fields = {
            "id": f"e{number}",
            "at": at.isoformat().replace("+00:00", "Z"),
            "user": chance.choice("uvwx"),
            "shop": chance.choice("st"),
            "amount": f"{chance.randint(1, 4)}.00",
        }
        fields |= {"web": chance.random() < 0.5} if chance.random() < 0.8 else {}
        type_ = chance.choice(["step", "step", "bought"])
        if type_ == "step":
            fields["name"] = chance.choice("abc")
            if chance.random() < 0.1:
                del fields["user"]
            elif number % 37 == 0:  # the same draws as without it
                fields["was"] = "uvwxyz"[number % 6]
        found.append({type_: fields})
    return sorted(found, key=lambda line: next(iter(line.values()))["at"])


def bits_of(funnel: str, type_: str, of: Fields) -> int:
    """Which steps of a funnel an event is, by hand."""
    amount = float(of["amount"])
    if funnel != "odd":
        return 0 if type_ != "step" else (of["name"] == "a") | (of["name"] == "b") << 1
    is_c = type_ == "step" and of["name"] == "c" and amount >= 2
    return (amount < 3) | is_c << 1 | (type_ == "bought") << 2


def rows_by_hand(funnel: str, events: Sequence[Fields]) -> list[Any]:
    """The events in the order of (time, place), with the names of users in place of their numbers."""
    rows = []
    for event in events:
        ((type_, of),) = event.items()
        user = of.get("user") if funnel != "odd" else f'["{of["user"]}","{of["shop"]}"]' if "user" in of else None
        if user is not None:
            rows.append((round(datetime.fromisoformat(of["at"]).timestamp() * 1_000), user, bits_of(funnel, type_, of)))
    return sorted(rows, key=lambda row: row[0])


def merged_rows(events: Sequence[Fields], begin_ms: int, end_ms: int) -> list[Any]:
    """The rows of the funnel `merging`: each event of a user that was merged is one of the user that it became."""
    became: dict[str, str] = {}
    for event in events:
        of = next(iter(event.values()))
        at_ms = round(datetime.fromisoformat(of["at"]).timestamp() * 1_000)
        if "was" in of and begin_ms <= at_ms < end_ms:
            old, new = became.get(of["was"], of["was"]), became.get(of["user"], of["user"])
            became |= {user: new for user in "uvwxyz" if became.get(user, user) == old}
    return [(at, became.get(user, user), bits) for at, user, bits in rows_by_hand("merging", events)]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "shroff.yaml").write_text("shroff: 1\nname: shop\nmoney: EUR\nlateness: 1d\n", encoding="utf-8")
    (folder / "events.yaml").write_text(EVENTS, encoding="utf-8")
    (folder / "funnels.yaml").write_text(FUNNELS, encoding="utf-8")
    return folder


def funnel(project: Project, name: str | None = None, first: Any = None, last: Any = None, **how: Any) -> Any:
    """The answer as JSON."""
    days = FunnelDays(funnel=name, start_date=first and day(first), end_date=last and day(last), **how)
    return msgspec.to_builtins(project.run(days))


def day(named: date | str) -> date:
    return date.fromisoformat(named) if isinstance(named, str) else named


FIRST, LAST = date(2026, 3, 28), date(2026, 3, 31)


def starts_of(zone: str) -> list[int]:
    days = [FIRST + timedelta(number) for number in range((LAST - FIRST).days + 2)]
    return [round(datetime.combine(day, time(), ZoneInfo(zone)).timestamp() * 1_000) for day in days]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["log", "lake", "both"])
def test_funnels_are_those_of_the_definition_wherever_events_lie(shop: Path, where: str):
    events = lines(5)
    spread(shop, events, 240, where)
    project = shroff.open(shop)

    asked = (("typed", "UTC", "ab"), ("merging", "UTC", "ab"), ("odd", "Europe/Berlin", ("small", "c", "bought")))
    for name, zone, steps in asked:
        rows = rows_by_hand(name, events)
        if name == "merging":
            rows = merged_rows(events, starts_of(zone)[0], starts_of(zone)[-1])
            assert rows != rows_by_hand(name, events)
        starts, is_ever = starts_of(zone), name == "odd"
        found = funnel(project, name, FIRST, LAST, zone=zone, split="")
        for number, step in enumerate(steps[:-1]):
            truth = days_by_definition(rows, number, starts, is_ever)
            mine = [row for row in found["rows"] if row["step"] == step]
            numbers = [(row["dropped_off"], row["recovered"], row["still_out"]) for row in mine]
            assert numbers == [tuple(map(len, day)) for day in truth]
            assert [row["dropped_off_before"] for row in mine] == [0, *(len(day[0]) for day in truth[:-1])]
            for kind, users in zip(("dropped_off", "recovered", "still_out"), truth[2], strict=True):
                named = {"zone": zone, "users": f"{kind}:{step}", "day": date(2026, 3, 30)}
                assert funnel(project, name, FIRST, LAST, **named)["users"] == sorted(users)
        truth_steps = reached_by_definition(rows, len(steps), starts[0], starts[-1], 10_800_000 if is_ever else None)
        assert [item["users"] for item in found["steps"]] == list(map(len, truth_steps))
        medians = [item["median_s"] for item in found["steps"][1:]]
        assert medians == [
            sorted(t for _, t in item.values())[-(-len(item) // 2) - 1] / 1_000 for item in truth_steps[1:]
        ]
        came = [sum(begin <= at < end for at, _ in truth_steps[0].values()) for begin, end in pairwise(starts)]
        assert [item["users"] for item in found["trend"] if item["step"] == steps[0]] == came
        assert sum(item["users"] for item in found["trend"] if item["step"] == steps[-1]) == len(truth_steps[-1])

    split = funnel(project, "odd", FIRST, LAST, zone="Europe/Berlin")
    for day, whole in zip(group(split["rows"]), found["rows"], strict=True):
        assert [row["value"] for row in day] == ["false", "true", None]
        for name in ("dropped_off", "dropped_off_before", "recovered", "still_out"):
            assert sum(row[name] for row in day) == whole[name]


def group(rows: Sequence[Any]) -> list[list[Any]]:
    return [list(found) for _, found in groupby(rows, key=lambda row: (row["day"], row["step"]))]


def test_a_user_counts_for_the_value_of_the_step_at_which_they_dropped_off(shop: Path):
    #  28 March   09:00 step c, web     10:00 step c, not web     29 March  07:00 step c, web    08:00 bought
    at = ["2026-03-28T09:00:00Z", "2026-03-28T10:00:00Z", "2026-03-29T07:00:00Z"]
    steps = [
        {"step": {"id": f"s{n}", "at": moment, "user": "u", "shop": "s", "name": "c", "amount": "9.00", "web": n != 1}}
        for n, moment in enumerate(at)
    ]
    bought = {"bought": {"id": "b", "at": "2026-03-29T08:00:00Z", "user": "u", "shop": "s", "amount": "9.00"}}
    ingest(shop, [*steps, bought])
    rows = funnel(shroff.open(shop), "odd", "2026-03-28", "2026-03-29")["rows"]
    numbers = [(row["day"][-2:], row["value"], row["dropped_off"], row["recovered"]) for row in rows]

    assert numbers[6:] == [
        ("28", "false", 1, 0), ("28", "true", 0, 0), ("28", None, 0, 0),
        ("29", "false", 0, 1), ("29", "true", 0, 0), ("29", None, 0, 0),
    ]  # fmt: skip


def test_the_shipped_example_has_two_funnels_of_five_steps(root: Path, tmp_path: Path):
    folder = shutil.copytree(root / "examples" / "app-funnels", tmp_path / "app")
    project = shroff.open(folder)
    report = project.ingest([folder / "app.jsonl"])
    found = funnel(project, first="2026-03-01", last="2026-03-04")

    assert (project.check().is_ok, report.events.appended, report.events.quarantined) == (True, 169, 0)
    users = [step["users"] for step in found["steps"] if step["funnel"] == "onboarding"]
    assert users == [40, 31, 17, 14, 5]
    assert sum(step["funnel"] == "savings" for step in found["steps"]) == 10  # five steps by platform
    first = [row for row in found["rows"] if row["funnel"] == "onboard_screen"]
    assert [row["dropped_off"] for row in first[:-1]] == [row["recovered"] + row["still_out"] for row in first[1:]]


def test_a_day_has_its_first_moment_and_not_its_last(shop: Path):
    #  28 March 00:00  ann a     29 March 00:00  ben a     30 March 00:00  cy a
    at = ["2026-03-28T00:00:00Z", "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z"]
    steps = [
        {"step": {"id": f"s{n}", "at": moment, "user": user, "shop": "s", "name": "a", "amount": "9.00"}}
        for n, (user, moment) in enumerate(zip(("ann", "ben", "cy"), at, strict=True))
    ]
    ingest(shop, steps)
    found = funnel(shroff.open(shop), "typed", "2026-03-28", "2026-03-29")

    assert [row["dropped_off"] for row in found["rows"]] == [1, 2]
    assert [step["users"] for step in found["steps"]] == [2, 0]
    assert [item["users"] for item in found["trend"] if item["step"] == "a"] == [1, 1]


def test_without_days_the_three_up_to_yesterday_are_counted(shop: Path):
    ingest(shop, lines(1, 5))
    project = shroff.open(shop)
    project.context.now_ms = lambda: 1_772_409_600_000  # 2026-03-02T00:00Z

    found = funnel(project, "typed")
    assert (found["first"], found["last"]) == ("2026-02-27", "2026-03-01")
    found = funnel(project, "typed", zone="America/New_York")
    assert (found["first"], found["last"]) == ("2026-02-26", "2026-02-28")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"name": "type"}, "there is no funnel 'type'. Did you mean typed?"),
        ({"first": "2026-04-01", "last": "2026-03-01"}, "the last day, 2026-03-01, is before the first, 2026-04-01."),
        ({"first": "1990-01-01", "last": "2026-03-01"}, "at most 3,700 rows of days and steps are counted at once"),
        ({"zone": "Mars"}, "'Mars' is not a time zone"),
        ({"name": "typed", "split": "nam"}, "no event type of the steps has a field 'nam'. Did you mean name?"),
        ({"name": "odd", "split": "amount"}, "amount is of type money: split by a text, choice, boolean or integer."),
    ],
)
def test_what_cannot_be_counted_is_refused_with_its_cure(shop: Path, how: dict[str, Any], words: str):
    ingest(shop, lines(1, 5))
    with pytest.raises(UsageError) as raised:
        funnel(shroff.open(shop), **how)
    assert words in str(raised.value)


def test_a_service_reads_so_many_events_at_most(shop: Path, monkeypatch: pytest.MonkeyPatch):
    ingest(shop, lines(1, 5))
    monkeypatch.setattr(funnel_operations, "is_served", lambda _: True)
    monkeypatch.setattr(funnel_operations, "EVENTS_MAX", 4)

    with pytest.raises(UsageError, match="6 events would have to be read, but the limit here is 4"):
        funnel(shroff.open(shop))


@pytest.mark.parametrize(
    ("kind", "step", "at", "words"),
    [
        ("dropped", "a", None, "'dropped' is not a number of a funnel. Did you mean dropped_off?"),
        ("lost", "b", None, "'b' is not a step of typed with a step behind it."),
        ("reached", "z", None, "'z' is not a step of typed."),
        ("recovered", "a", "2026-01-01", "2026-01-01 is not among the days from 2026-03-27 to 2026-03-28."),
    ],
)
def test_users_of_no_number_are_refused(shop: Path, kind: str, step: str, at: str | None, words: str):
    ingest(shop, lines(1, 5))
    users = {"users": f"{kind}:{step}", "day": at and day(at)}
    with pytest.raises(UsageError) as raised:
        funnel(shroff.open(shop), "typed", "2026-03-27", "2026-03-28", **users)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("user: user", "user: usr", "2:9", "'usr' is not an entity, and no field of step. Did you mean user?"),
        ("user: user", "user: name\n  split: amount", "3:10", "amount is of type money"),
        ("event: [step]", "event: [stp]", "3:", "'stp' is not an event type. Did you mean step?"),
        ("this.name == 'a'", "this.nam == 'a'", "3:42", "this.nam"),
        ("this.name == 'a'", "this.amount", "3:42", "boolean"),
        ("name: b, event", "name: a, event", "3:", "the step 'a' is used twice."),
        ("within: 3h", "within: soon", "10:11", "soon"),
        ("next: ever", "next: never", "11:9", "next is after or ever, not 'never'"),
        ("- bought\n", "- refunded\n", "9:7", "'refunded' is not an event type."),
        ("  split: web", "  by: web", "12:3", "has no key 'by'"),
        ("user: user\n", "", "2:5", "lacks user"),
        ("merged: was", "merged: wos", "15:11", "'wos' is not a field of step. Did you mean was?"),
        ("merged: was", "merged: web", "15:11", "merged has to be a text, and step.web is none."),
        ("user: person\n", "user: person\n  merged: was\n", "6:11", "person is an entity"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_its_place_and_cure(shop: Path, old: str, new: str, place: str, words: str):
    text = FUNNELS.replace(old, new, 1)
    assert text != FUNNELS
    (shop / "funnels.yaml").write_text(text, encoding="utf-8")
    problems = shroff.open(shop).check().errors

    assert [problem.file for problem in problems] == ["funnels.yaml"]
    assert f"{problems[0].line}:{problems[0].column}".startswith(place)
    assert words in f"{problems[0].message} {problems[0].hint}"
