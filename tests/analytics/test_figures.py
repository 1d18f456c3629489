"""Figures of reports are what their definition in plain Python gives, wherever the events lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import shroff
from shroff.services.lake.operations import WriteLake
from shroff_plugins.analytics.counts import CountQuestion
from shroff_plugins.analytics.funnel_operations import FunnelDays
from shroff_plugins.analytics.report_figures import drop_offs, figures_of
from tests.support.projects import write_files
from tests.support.spread import ingest, spread

EVENTS = """\
step:
  id: id
  time: at
  fields: { id: text, at: time, user: text?, shop: text, name: "choice(opened, seen)" }
bought:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, user: text, shop: text, amount: money, points: integer? }
entities:
  person: { step: [user, shop], bought: [user, shop] }
  shop: { bought: shop }
"""
REPORT = """\
on: report
to: [team@shop.example]
figures:
  events: { event: [step, bought] }
  users: { distinct: user, event: [step, bought] }
  persons_7d: { distinct: person, event: [step, bought], days: 7 }
  opened_3d: { distinct: user, event: step, where: this.name == 'opened', days: 3 }
  opened_and_bought_3d:
    { distinct: user, event: step, where: this.name == 'opened', days: 3, also: { event: bought, where: amount_ok } }
  money: { sum: this.amount, event: bought, where: "this.shop == 's'" }
  points_2d: { sum: this.points, event: bought, days: 2 }
  share: { value: figures.opened_and_bought_3d / figures.opened_3d, as: percent }
  twice: { value: figures.money + figures.money }
  in_shop: { fact: shop.bought_ever, key: s }
  beside: { value: figures.in_shop * 2, hidden: true }
""".replace("amount_ok", "this.amount >= 2")
FILES = {
    "shroff.yaml": "shroff: 1\nname: shop\nmoney: EUR\nlateness: 1d\n",
    "events.yaml": EVENTS,
    "features.yaml": "shop:\n  bought_ever: count(bought) over 92d\n",
    "notices/kpi.yaml": REPORT,
    "funnels.yaml": "buying: { user: user, steps: [step, bought] }\n",
}
DAY = date(2026, 3, 30)  # on the day before it, clocks of Europe change
Fields = dict[str, Any]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_files(tmp_path / "shop", FILES)


def lines(seed: int, count: int = 300) -> list[Fields]:
    """Events of sixteen days up to the day after, many of them at the very ends of days."""
    chance, found = Random(seed), []
    for number in range(count):
        at = datetime(2026, 3, 16, tzinfo=UTC) + timedelta(minutes=16 * 24 * 60 * number // count)
        if chance.random() < 0.4:
            at = at.replace(hour=chance.choice([0, 22, 23]), minute=0)
        of = {"id": f"e{number}", "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "user": chance.choice("uvwxyz")}
        of["shop"] = chance.choice("st")
        if chance.random() < 0.5:
            of["name"] = chance.choice(["opened", "seen"])
            if chance.random() < 0.1:
                del of["user"]
            found.append({"step": of})
        else:
            of["amount"] = f"{chance.randint(1, 3)}.25"
            found.append({"bought": of | ({"points": chance.randint(0, 9)} if chance.random() < 0.7 else {})})
    return sorted(found, key=lambda line: next(iter(line.values()))["at"])


# ---- by the definition, one event after the other


def within(events: Sequence[Fields], last: date, days: int, zone: str) -> Iterator[tuple[str, Fields]]:
    """The events of so many days up to the last one."""
    for event in events:
        ((type_, of),) = event.items()
        day = datetime.fromisoformat(of["at"]).astimezone(ZoneInfo(zone)).date()
        if last - timedelta(days) < day <= last:
            yield type_, of


def by_definition(events: Sequence[Fields], day: date, zone: str) -> dict[str, Any]:
    def of(days: int) -> list[tuple[str, Fields]]:
        return list(within(events, day, days, zone))

    opened = {fields["user"] for type_, fields in of(3) if fields.get("name") == "opened" and "user" in fields}
    bought = {fields["user"] for type_, fields in of(3) if type_ == "bought" and float(fields["amount"]) >= 2}
    sums = [float(fields["amount"]) for type_, fields in of(1) if type_ == "bought" and fields["shop"] == "s"]
    money = round(100 * sum(sums))
    return {
        "events": len(of(1)),
        "users": len({fields["user"] for _, fields in of(1) if "user" in fields}),
        "persons_7d": len({(fields["user"], fields["shop"]) for _, fields in of(7) if "user" in fields}),
        "opened_3d": len(opened),
        "opened_and_bought_3d": len(opened & bought),
        "money": money,
        "points_2d": sum(fields.get("points", 0) for _, fields in of(2)),
        "share": len(opened & bought) / len(opened) if opened else None,
        "twice": 2 * money,
    }


@pytest.mark.parametrize(("where", "zone"), [("log", "Europe/Berlin"), ("lake", "UTC"), ("both", "Europe/Berlin")])
def test_figures_are_those_of_the_definition_wherever_events_lie(shop: Path, where: str, zone: str):
    events = lines(len(where))
    spread(shop, events, 200, where)
    project = shroff.open(shop)
    figures = project.notice_files.declared["kpi"].report.figures
    found = figures_of(project.context, figures, DAY, zone)

    for back in range(7):
        truth = by_definition(events, DAY - timedelta(back), zone)
        assert {name: found[name].values[6 - back] for name in truth} == truth, back
    end = datetime.combine(DAY + timedelta(1), time(), ZoneInfo(zone))
    bought = [event["bought"] for event in events if "bought" in event]
    in_shop = sum(row["shop"] == "s" and datetime.fromisoformat(row["at"]) < end for row in bought)
    assert (found["in_shop"].values[-1], found["beside"].values[-1]) == (in_shop, 2 * in_shop)


def test_a_fact_may_be_a_fraction_or_missing(shop: Path):
    (shop / "features.yaml").write_text(
        "shop:\n  mean: mean(bought.points) over 92d\n  most: max(bought.points) over 92d\n"
    )
    facts = {"mean": ("s", "mean"), "most": ("s", "most"), "none": ("nobody", "most")}
    named = "".join(f"  {name}: {{ fact: shop.{fact}, key: {key} }}\n" for name, (key, fact) in facts.items())
    (shop / "notices" / "kpi.yaml").write_text(f"on: report\nto: [team@shop.example]\nfigures:\n{named}")
    bought = {"at": "2026-03-30T08:00:00Z", "user": "u", "shop": "s", "amount": "1.00"}
    ingest(shop, [{"bought": bought | {"id": f"b{points}", "points": points}} for points in (1, 2, 4, 6)])
    project = shroff.open(shop)
    found = figures_of(project.context, project.notice_files.declared["kpi"].report.figures, DAY, "UTC")

    assert {name: found[name].values[-1] for name in facts} == {"mean": 3.25, "most": 6, "none": None}
    assert not any(figure.why for figure in found.values())


def test_counts_are_those_of_shroff_counts_and_drop_offs_those_of_shroff_funnel(shop: Path):
    ingest(shop, lines(9))
    project, zone = shroff.open(shop), "Europe/Berlin"
    figures = project.notice_files.declared["kpi"].report.figures
    days = [DAY - timedelta(back) for back in (3, 2, 1, 0)]

    found = figures_of(project.context, figures, DAY, zone)
    counts = project.run(CountQuestion(start_date=days[0], end_date=DAY, zone=zone)).rows
    assert list(found["events"].values[-4:]) == [
        sum(count.count for count in counts if count.day == day) for day in days
    ]
    (step,) = drop_offs(project.context, "buying", DAY, zone)
    asked = [FunnelDays(funnel="buying", start_date=day, end_date=day, zone=zone) for day in days]
    alone = [project.run(item).rows[0].dropped_off for item in asked]
    assert [*step.before, step.count] == alone


def test_drop_offs_have_days_before_only_where_the_log_had_begun(shop: Path):
    #   27 March 12:00  the first event      a report of the 30th has three days before it, one of the 29th has not
    ingest(shop, [{"step": {"id": "s", "at": "2026-03-27T12:00:00Z", "user": "u", "shop": "s", "name": "seen"}}])
    context = shroff.open(shop).context

    assert [drop_offs(context, "buying", day, "UTC")[0].before for day in (DAY, date(2026, 3, 29))] == [[1, 0, 0], []]


def test_a_figure_that_cannot_be_had_says_why_and_the_others_stay(shop: Path):
    ingest(shop, lines(3, 20))
    project = shroff.open(shop)
    figures = dict(project.notice_files.declared["kpi"].report.figures)
    with (shop / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("lake: ./lake\n")
    shroff.open(shop).run(WriteLake())
    for path in (shop / "lake").rglob("*.parquet"):
        path.write_bytes(b"cut off")
    found = figures_of(shroff.open(shop).context, figures, DAY, "UTC")

    assert "Bring it back from a copy of the lake" in found["events"].why
    assert found["share"].why == "it needs opened_3d, which is not available."
    assert found["in_shop"].values[-1] is not None


def test_a_damaged_file_of_one_event_type_takes_away_no_figure_of_another(shop: Path):
    ingest(shop, lines(3, 20))
    with (shop / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("lake: ./lake\n")
    project = shroff.open(shop)
    figures = dict(project.notice_files.declared["kpi"].report.figures)
    before = figures_of(project.context, figures, DAY, "UTC")
    project.run(WriteLake())
    for path in (shop / "lake" / "events" / "type=bought").rglob("*.parquet"):
        path.write_bytes(b"cut off")
    found = figures_of(shroff.open(shop).context, figures, DAY, "UTC")

    read = {name: figure.events for name, figure in figures.items() if figure.events}
    assert any("bought" in types for types in read.values())
    assert any("bought" not in types for types in read.values())
    for name, types in read.items():
        assert (found[name].why == "") == ("bought" not in types), name
        assert found[name].why or found[name] == before[name]


MISTAKES = (
    ("{ label: A }", "a figure has one of 'event', 'fact' and 'value'."),
    ("{ event: step, value: figures.x }", "a figure has one of 'event', 'fact' and 'value'."),
    ("{ event: stepp }", "'stepp' is not an event type. Did you mean step?"),
    ("{ event: step, where: this.nam == 'x' }", "reads 'nam', which is not a field of step. Did you mean name?"),
    ("{ event: step, where: this.name }", "must be boolean, this is a choice"),
    ("{ event: step, also: bought }", "'also' is for a figure with 'distinct'."),
    ("{ event: bought, sum: this.user }", "a sum is of money, an integer or a number, not of text."),
    ("{ event: bought, sum: this.amount, distinct: user }", "it counts with 'distinct' or adds with 'sum'"),
    ("{ event: [step, bought], distinct: name }", "bought has no entity or field 'name' to count."),
    ("{ event: step, distinct: user, also: { event: step, where: 1 } }", "boolean"),
    ("{ event: bought, distinct: amount }", "amount is of type money: distinct is a text, choice, boolean"),
    ("{ event: step, days: 367 }", "days is 1 to 366."),
    ("{ fact: shop.bougt, key: s }", "there is no feature 'shop.bougt'. Did you mean shop.bought_ever?"),
    ("{ fact: shop.bought_ever }", "a fact needs 'key', the key whose feature it reads."),
    ("{ value: figures.two / 2 }", "the value of a figure reads 'figures.two'"),
    ("{ value: count(step) }", "aggregates stand in features and rules, not in the value of a figure"),
    ("{ value: 1 > 2 }", "the value of a figure is a number, not boolean."),
)


def test_a_figure_that_makes_no_sense_is_refused_at_its_place(shop: Path):
    lines = [f"  one_{number}: {figure}" for number, (figure, _) in enumerate(MISTAKES)]
    text = "on: report\nto: [a@b.example]\nfigures:\n" + "\n".join([*lines, "  two: { event: step }\n"])
    (shop / "notices/kpi.yaml").write_text(text, encoding="utf-8")
    found = {problem.line: str(problem) for problem in shroff.open(shop).check().errors}

    assert list(found) == [4 + number for number in range(len(MISTAKES))]
    for number, (_, words) in enumerate(MISTAKES):
        assert words in found[4 + number]


def test_a_key_that_no_figure_has_is_refused(shop: Path):
    text = "on: report\nto: [a@b.example]\nfigures:\n  one: { event: step, dais: 2 }\n"
    (shop / "notices/kpi.yaml").write_text(text, encoding="utf-8")
    (problem,) = map(str, shroff.open(shop).check().errors)

    assert problem.startswith("notices/kpi.yaml:4:")
    assert "Did you mean days?" in problem
