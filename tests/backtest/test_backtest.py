"""Backtests of small projects: what is judged, how it is counted, and what a draft may have."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markupsafe import escape

from shroff.backtest.document import BacktestReport
from shroff.backtest.engine import RuleMatches
from shroff.backtest.outcomes import outcomes_by_columns
from shroff.backtest.plan import DraftComparison, versions_of
from shroff.backtest.report import UNKNOWABLE, page, sentence
from shroff.backtest.run import JudgedPeriod, backtest, changed, first_place, write_changed
from shroff.backtest.tally import exact_sums
from shroff.cli.main import run
from shroff.errors import DefinitionError, UsageError
from shroff.events.event import read_time
from shroff.events.intake import Intake
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.draft_overlay import DraftFile
from shroff.project.policy import OUTCOMES, Policy, outcome
from shroff.rules.definitions import Rule
from shroff.services import project as app
from tests.support.linear import put, registry
from tests.support.log_memory import MemoryLog
from tests.support.projects import FILES, NOW_MS, definitions, label, payment, submission, writer
from tests.support.trained import train

DAY_MS = 86_400_000
COSTS = "payment: { costs: { missed_fraud: payment.amount, false_decline: 15, review: 4 } }\n"
DRAFT = """
- id: large
  on: payment
  by: card
  when: this.amount > 200
  effect: decline
- id: second
  on: payment
  by: card
  when: card.payments_9h >= 1
  effect: review
- id: unseen
  on: payment
  by: card
  when: card.payments_1h >= 1
  effect: note
"""
FEATURES = "card: { payments_9h: count(payment) over 9h }\n"


def draft(rules: str = DRAFT, features: str = FEATURES, policy: str = COSTS) -> Definitions:
    """The small project with a draft laid over it."""
    files = [
        DraftFile("features.yaml", "drafts/features.yaml", features),
        DraftFile("policy.yaml", "drafts/policy.yaml", policy),
        DraftFile("rules/", "drafts/rules.yaml", rules),
    ]
    return load_definitions(FILES, draft=files).or_raise()


def log_of(*, is_labeled: bool = True) -> MemoryLog:
    """Six payments, a minute apart but the last, with the labels that are known a day later."""
    log = MemoryLog()
    amounts = ["150.00", "250.00", "10.00", "300.00", "20.00"]
    paid = [payment(at, at, amount=amount, card=f"c{at % 3}") for at, amount in enumerate(amounts)]
    writer(log).write([*paid, payment(5, 60 * 11, amount="500.00", card="c0")])
    known = "2026-03-02T12:00:00Z"
    labels = [("payment/p1", "fraud"), ("payment/p3", "fraud"), ("payment/p4", "genuine"), ("payment/p2", "unclear")]
    labels = labels if is_labeled else []
    writer(log).write([label(10 + at, event, verdict, "analyst", known) for at, (event, verdict) in enumerate(labels)])
    return log


@pytest.fixture
def log() -> MemoryLog:
    return log_of()


LATER = read_time("2026-03-20T00:00:00Z")


def changes(report: BacktestReport) -> dict[str, tuple[str, str, str]]:
    return {row.id: (row.old, row.new, row.label) for row in changed(report, 99)}


def test_a_draft_is_held_against_what_was_decided(log: MemoryLog):
    report = backtest(log, draft(), period=JudgedPeriod(LATER))

    assert report.events == 6
    assert changes(report) == {
        "p0": ("review", "approve", "none"),
        "p1": ("review", "decline", "fraud"),
        "p3": ("review", "decline", "fraud"),
        "p4": ("approve", "review", "genuine"),
        "p5": ("review", "decline", "none"),
    }


def test_only_versions_that_decided_something_of_the_judged_part_are_compared():
    log = MemoryLog()
    for number, amount in enumerate((100, 200, 300)):
        large = FILES["rules/large.yaml"].replace("100", str(amount))
        writer(log, {"rules/large.yaml": large}).write([payment(number)])
    versions = versions_of(log, definitions(), DraftComparison(), 3, 5)  # each version begins before its payment

    assert [(version.start, version.end) for version in versions] == [(3, 5)]


def test_the_matrix_adds_up_in_counts_and_money(log: MemoryLog):
    found = backtest(log, draft(), period=JudgedPeriod(LATER)).brief()

    assert sum(cell["count"] for cell in found["outcomes"]) == found["events"] == 6
    assert sum(round(100 * float(cell["money"])) for cell in found["outcomes"]) == 123_000
    assert {(item["old"], item["new"], item["label"], item["money"]) for item in found["outcomes"]} >= {
        ("review", "decline", "fraud", "550.00"),
        ("approve", "approve", "unclear", "10.00"),
    }


def test_days_and_weeks_are_those_of_the_zone_and_weeks_begin_on_monday():
    log = MemoryLog()  # Sunday noon, an hour before Monday in UTC, and a Monday and a day later
    for number, minute in enumerate((0, 11 * 60)):
        writer(log).write([payment(number, minute, card=f"c{number}", amount="150.00")])
    later = {"id": "p2", "at": "2026-03-10T12:00:00Z", "card": "c", "amount": "150.00"}
    writer(log).write([submission("payment", 2, later)])
    writer(log).write([label(10, "payment/p0", "fraud", "analyst", "2026-03-11T12:00:00Z")])
    long_after = read_time("2026-05-20T00:00:00Z")
    utc, berlin = (
        backtest(log, draft(), period=JudgedPeriod(long_after, zone=zone)).balance for zone in ("UTC", "Europe/Berlin")
    )

    assert [(week.day, week.events) for week in utc.weeks] == [("2026-03-01", 2), ("2026-03-02", 0), ("2026-03-09", 1)]
    assert [week.events for week in berlin.weeks] == [1, 1, 1]
    assert (utc.net, utc.days) == (berlin.net, 10)


def test_the_balance_counts_frauds_reviews_and_false_declines_at_their_costs(log: MemoryLog):
    balance = backtest(log, draft(), period=JudgedPeriod(LATER)).brief()["balance"]

    assert balance["old"] == {
        "frauds_stopped": 2,
        "fraud_money_stopped": "550.00",
        "reviews": 4,
        "presumed_false_declines": 0,
    }
    assert (balance["new"]["reviews"], balance["new"]["presumed_false_declines"]) == (1, 1)
    assert balance["net"] == "-3.00"  # three reviews less at 4.00, one false decline more at 15.00


def test_rules_are_counted_by_label_with_what_only_they_find(log: MemoryLog):
    rules = {rule["id"]: rule for rule in backtest(log, draft(), period=JudgedPeriod(LATER)).brief()["rules"]}

    large = rules["large"]
    assert (large["hits"], large["older_fraud"], large["older_none"], large["precision"]) == (3, 2, 1, 2 / 3)
    assert (large["money"], large["older_fraud_money"]) == ("1050.00", "550.00")
    assert large["overlap"] == {"second": 1, "unseen": 1}
    assert (large["only"]["hits"], large["only"]["older_fraud"]) == (2, 1)
    assert (large["old"]["hits"], rules["second"]["old"]["hits"]) == (4, 0)


def test_without_a_label_nobody_knows_the_precision_of_a_rule():
    rules = backtest(log_of(is_labeled=False), draft(), period=JudgedPeriod(LATER)).brief()["rules"]

    assert [rule["hits"] > 0 for rule in rules] == [True] * 3
    assert [(rule["older_none"], rule["precision"]) for rule in rules] == [(rule["hits"], None) for rule in rules]


def test_an_event_younger_than_the_label_delay_is_immature(log: MemoryLog):
    report = backtest(log, draft(), period=JudgedPeriod(read_time("2026-03-03T00:00:00Z")))
    rules = {rule["id"]: rule for rule in report.brief()["rules"]}

    assert report.immature == 6
    assert report.balance.new.frauds_stopped == 0
    assert report.balance.days == 0, "what is too young says nothing of a day"
    assert (rules["large"]["immature"], rules["large"]["precision"]) == (3, None)


@pytest.mark.parametrize("days, is_known", [(7, False), (8, True)])
def test_the_worth_of_fewer_than_eight_days_has_no_interval(days: int, is_known: bool):
    log = MemoryLog()
    for number in range(days):
        fields = {"id": f"p{number}", "at": f"2026-03-0{number + 1}T12:00:00Z", "card": "c", "amount": "150.00"}
        writer(log).write([submission("payment", number, fields)])
    writer(log).write([label(10, "payment/p0", "fraud", "analyst", "2026-03-11T12:00:00Z")])
    balance = backtest(log, draft(), period=JudgedPeriod(read_time("2026-05-20T00:00:00Z"))).balance

    assert balance.days == days
    assert (balance.low is not None, balance.high is not None) == (is_known, is_known)


def test_labels_count_as_they_were_known_then(log: MemoryLog):
    before = backtest(log, draft(), period=JudgedPeriod(read_time("2026-03-02T11:59:59Z")))

    assert {label for _, _, label in changes(before).values()} == {"none"}


def test_from_and_to_end_what_is_judged_at_the_first_event_from_them_on(log: MemoryLog):
    start, end = (read_time(f"2026-03-01T12:0{minute}:00Z") for minute in (1, 4))
    report = backtest(log, draft(), period=JudgedPeriod(LATER, start, end))

    assert report.events == 3
    assert list(changes(report)) == ["p1", "p3"]


@pytest.mark.slow
def test_a_log_of_many_places_is_searched_by_halves():
    log, random = MemoryLog(), Random(1)
    late = writer(log, {"shroff.yaml": FILES["shroff.yaml"] + "lateness: 10m\n"})
    minutes = [max(at - random.choice([0, 0, 0, 2, 9]), 0) for at in range(300)]
    late.write([payment(number, minute) for number, minute in enumerate(minutes)])
    times = [record.time_ms for records in log.read() for record in records if record.kind == "event"]

    for moment_ms in (times[0], times[0] + 1, times[150], max(times), max(times) + 1):
        wanted = next((2 + at for at, time_ms in enumerate(times) if time_ms >= moment_ms), 302)
        assert first_place(log, moment_ms, 600_000, 301) == wanted


@pytest.mark.parametrize("taken", [1, 2], ids=["some", "all"])
def test_events_that_were_taken_without_a_decision_are_decided_by_both_sides(taken: int):
    log = MemoryLog()
    paid = [payment(1, 0, amount="150.00"), payment(2, 1, amount="250.00")]
    writer(log).write(paid[:taken], decide=False)
    writer(log).write(paid[taken:])
    report = backtest(log, draft(), period=JudgedPeriod(LATER))

    assert (report.events, report.undecided, report.recorded.differ) == (2, taken, 0)
    assert changes(report) == {"p1": ("review", "approve", "none"), "p2": ("review", "decline", "none")}
    assert "taken without a decision. Without the draft such an event" in report.text()
    assert "taken without a decision." in page(report)


def test_what_an_event_has_no_field_for_is_missing_where_another_one_asks_with_it():
    events = """
payment: { id: id, time: at, decide: true, fields: { id: text, at: time, card: text, amount: money, points: integer } }
refund: { id: id, time: at, decide: true, fields: { id: text, at: time, card: text, amount: money } }
entities: { card: { payment: card, refund: card } }
"""
    features = """
card:
  larger: sum(payment.amount where payment.amount > this.amount) over last 9
  richer: share(payment where -payment.points < this.points) over 1h
"""
    rule = "- { id: large, on: refund, by: card, when: card.larger > 0 or card.richer > 0, effect: review }\n"
    files = {"events.yaml": events, "features.yaml": features, "rules/large.yaml": rule}
    made, stricter = (
        definitions(files),
        definitions({**files, "rules/large.yaml": rule.replace("0, effect: review", "-1, effect: decline")}),
    )
    intake, log = Intake(made.events, made.settings, None), MemoryLog()
    first = {"id": "a", "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "20.00", "points": 7}
    second = {"id": "b", "at": "2026-03-01T12:00:05Z", "card": "c", "amount": "10.00"}
    Writer(log, made, lambda: NOW_MS).write(
        [
            intake.submit(name, fields, source="test", place="1", raw=msgspec.json.encode(fields), is_strict=False)
            for name, fields in (("payment", first), ("refund", second))
        ]
    )

    report = backtest(log, stricter, period=JudgedPeriod(LATER))

    assert (report.events, changes(report)) == (2, {"b": ("review", "decline", "none")})


def test_without_a_draft_the_project_is_held_against_the_log(log: MemoryLog):
    report = backtest(log, definitions(), period=JudgedPeriod(LATER))

    assert changes(report) == {}
    assert all(rule.kept for rule in report.rules)


def test_an_empty_log_cannot_be_judged():
    with pytest.raises(UsageError, match="no events to judge"):
        backtest(MemoryLog(), definitions(), period=JudgedPeriod(None))


def test_an_end_before_the_start_is_refused(log: MemoryLog):
    with pytest.raises(UsageError, match="is not after"):
        backtest(log, definitions(), period=JudgedPeriod(LATER, 2, 1))


# ---- outcomes and sums


@pytest.mark.parametrize(
    "policy", [Policy(), Policy(0.6, 0.9), Policy(0.6), Policy(None, 0.9), Policy(0.6, 0.9, "review")]
)
def test_outcomes_by_columns_are_those_of_the_policy(policy: Policy):
    random = Random(2)
    rules = [Rule(f"r{at}", "payment", "card", None, effect) for at, effect in enumerate(EFFECTS)]
    hit = [[random.random() < 0.3 for _ in range(400)] for _ in rules]
    scores = [random.choice([None, 0.1, 0.6, 0.75, 0.9, 1.0]) for _ in range(400)]
    hits = {
        rule.id: RuleMatches(np.flatnonzero(marks), np.ones(sum(marks), np.bool_))
        for rule, marks in zip(rules, hit, strict=True)
    }
    found = outcomes_by_columns(hits, rules, np.array([np.nan if item is None else item for item in scores]), policy)

    wanted = [
        outcome(
            [rule.effect for rule, marks in zip(rules, hit, strict=True) if marks[at]],
            policy,
            score,
            has_model=score is not None,
        )
        for at, score in enumerate(scores)
    ]
    assert [OUTCOMES[item] for item in found.tolist()] == wanted


EFFECTS = ("decline", "challenge", "review", "allow", "note", "review")


@pytest.mark.parametrize("largest", [10**6, 2**52 - 1, 2**62])
def test_sums_are_exact_whatever_their_size(largest: int):
    random = Random(3)
    amounts = [random.randint(-largest, largest) for _ in range(1_000)]
    codes = [random.randrange(3) for _ in amounts]
    wanted = [sum(amount for amount, code in zip(amounts, codes, strict=True) if code == at) for at in range(4)]

    assert exact_sums(np.array(codes), np.array(amounts, np.int64), 4) == wanted


# ---- drafts


def test_a_draft_lays_rules_features_and_policies_over_the_project():
    found = draft()

    assert sorted(rule.id for rule in found.rules) == ["large", "second", "unseen"]
    assert next(rule for rule in found.rules if rule.id == "large").effect == "decline"
    assert set(found.features) == {"card.payments_1h", "card.spent_1d", "card.frauds", "card.payments_9h"}
    assert found.policy("payment").review_minor == 400


def test_a_feature_of_a_draft_takes_the_place_of_that_of_its_name():
    found = draft(features="card: { payments_1h: count(payment) over 30m, payments_9h: count(payment) over 9h }\n")

    assert len(found.features) == 4
    assert "1800000" in repr(found.features["card.payments_1h"].node)


def test_a_mistake_in_a_draft_is_named_by_its_own_file_and_line():
    with pytest.raises(DefinitionError) as raised:
        draft(rules="- id: a\n  on: payment\n  by: card\n  when: card.payments_8h > 1\n  effect: review\n")

    problem = raised.value.problems[0]
    assert (problem.file, problem.line) == ("drafts/rules.yaml", 4)
    assert "card.payments_9h" in problem.hint


def test_a_file_of_rules_that_is_no_list_is_refused():
    with pytest.raises(DefinitionError, match="is a list"):
        draft(rules="id: a\n")


# ---- the page and the command


class Tags(HTMLParser):
    """The tags and the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]


def test_the_page_stands_alone_and_shows_no_text_of_an_event_as_markup(log: MemoryLog):
    writer(log).write([payment(77, 62, amount="700.00", card="c9", id_="<script>alert(1)</script>")])
    report = backtest(log, draft(), ["drafts/"], period=JudgedPeriod(LATER))
    text = page(report)
    tags = Tags()
    tags.feed(text)

    assert (tags.links, "script" in tags.tags) == ([], False)
    assert "&lt;script&gt;" in text
    assert sentence(report) in text
    assert UNKNOWABLE in text


def test_the_sentence_says_where_costs_are_not_known(log: MemoryLog):
    words = sentence(backtest(log, draft(policy=""), period=JudgedPeriod(LATER)))

    assert "0 more frauds" in words
    assert "names no costs" in words


def test_a_challenge_is_no_stop_and_the_sentence_says_what_it_counts(log: MemoryLog):
    milder = draft(DRAFT.replace("effect: decline", "effect: challenge").replace("effect: review", "effect: note"))
    report = backtest(log, milder, period=JudgedPeriod(LATER))

    assert (report.balance.old.frauds_stopped, report.balance.new.frauds_stopped) == (2, 0)
    assert "The draft would have reviewed or declined 2 fewer frauds with " in sentence(report)


@pytest.fixture
def project(tmp_path: Path) -> app.Project:
    """A project whose log has the six payments, and a draft beside it."""
    files = {**FILES, "policy.yaml": COSTS, "drafts/rules.yaml": DRAFT, "drafts/features.yaml": FEATURES}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    opened = app.open(tmp_path)
    amounts = ["150.00", "250.00", "10.00"]
    opened.decide(
        [
            {"id": f"p{at}", "at": f"2026-03-01T12:0{at}:00Z", "card": "c", "amount": amount}
            for at, amount in enumerate(amounts)
        ],
        as_type="payment",
    )
    return opened


def test_a_notebook_backtests_a_folder(project: app.Project):
    report = project.backtest(rules=project.context.paths.folder / "drafts", as_of="2026-03-20")

    assert (report.events, len(changes(report))) == (3, 3)


def test_a_folder_without_rules_and_one_with_events_are_refused(project: app.Project):
    folder = project.context.paths.folder
    with pytest.raises(UsageError, match="no folder"):
        project.backtest(rules=folder / "nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="has no rules"):
        project.backtest(rules=folder / "empty")
    (folder / "empty" / "events.yaml").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="and no other files"):
        project.backtest(rules=folder / "empty")


def test_files_are_judged_alone_and_leave_the_log_as_it_is(project: app.Project):
    folder = project.context.paths.folder
    events = [{"id": f"f{at}", "at": f"2026-04-01T12:0{at}:00Z", "card": "c", "amount": "150.00"} for at in range(2)]
    (folder / "april.jsonl").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    (folder / "labels.csv").write_text("event,verdict,known_at\nf1,fraud,2026-04-02T12:00:00Z\n", encoding="utf-8")
    before = project.events().num_rows
    report = project.backtest(
        rules=folder / "drafts", files=folder / "april.jsonl", as_type="payment", labels=folder / "labels.csv"
    )

    assert changes(report) == {"f0": ("review", "approve", "none")}
    assert {(cell.label, cell.count) for cell in report.outcomes} == {("none", 1), ("fraud", 1)}
    assert project.events().num_rows == before


def test_files_in_any_order_are_judged_by_time_where_that_is_asked(project: app.Project):
    folder = project.context.paths.folder
    events = [{"id": f"f{day}", "at": f"2026-04-{day:02}T12:00:00Z", "card": "c", "amount": "9"} for day in (20, 1)]
    (folder / "april.jsonl").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    asked = partial(project.backtest, rules=folder / "drafts", files=folder / "april.jsonl", as_type="payment")

    with pytest.raises(UsageError, match=r"1 of the first 2 lines .* Add --order time"):  # nineteen days too late
        asked()
    assert asked(order="time").events == 2


def test_a_model_takes_the_champions_place(project: app.Project):
    folder = project.context.paths.folder
    models = registry(project.context.paths.models)
    project.context.models_kept.forget()
    project.context.models_kept.get(lambda: models)
    put(models, "m-20260301-aaaa", {"payment.amount": 1.0})
    (folder / "score.yaml").write_text("payment: { score: { decline_at: 0.9975 } }\n", encoding="utf-8")
    report = project.backtest(model="m-20260301-aaaa", policy=folder / "score.yaml", as_of="2026-03-20")

    assert report.draft == [str(folder / "score.yaml"), "m-20260301-aaaa"]
    assert changes(report) == {"p1": ("review", "decline", "none")}


def test_a_model_that_is_not_there_is_refused(project: app.Project):
    with pytest.raises(UsageError, match="m-20260101-aaaa"):
        project.backtest(model="m-20260101-aaaa")


@pytest.mark.parametrize("name", ["changed.csv", "changed.parquet"])
def test_the_command_answers_in_json_and_writes_its_files(
    project: app.Project, name: str, capsys: pytest.CaptureFixture[str]
):
    folder = project.context.paths.folder
    out, html = folder / name, folder / "backtest.html"
    words = ["-C", str(folder), "backtest", "--rules", str(folder / "drafts"), "--json", "--rows", "1"]
    code = run([*words, "--out", str(out), "--report", str(html)])
    found = json.loads(capsys.readouterr().out)

    assert code == 0
    assert {"events", "seconds", "outcomes", "rules", "immature"} <= found.keys()
    assert (found["changed"], len(found["changed_rows"])) == (3, 1)
    assert html.read_text(encoding="utf-8").startswith("<!doctype html>")
    rows = (
        list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
        if name.endswith(".csv")
        else pq.read_table(out).to_pylist()
    )
    rules = [row["rules"] if isinstance(row["rules"], list) else row["rules"].split() for row in rows]
    assert [(row["id"], row["new"], hits) for row, hits in zip(rows, rules, strict=True)] == [
        ("p0", "approve", []),
        ("p1", "decline", ["large", "second", "unseen"]),
        ("p2", "review", ["second", "unseen"]),
    ]


def test_parquet_has_moments_and_amounts_as_they_are(project: app.Project, tmp_path: Path):
    report = project.backtest(rules=project.context.paths.folder / "drafts")
    write_changed(report, tmp_path / "changed.parquet")
    table = pq.read_table(tmp_path / "changed.parquet")

    assert table.schema.field("time").type == pa.timestamp("ms", tz="UTC")
    assert table.schema.field("money").type == pa.decimal128(38, 2)
    first = table.to_pylist()[0]
    assert (first["time"].isoformat(), first["money"]) == ("2026-03-01T12:00:00+00:00", Decimal("150.00"))


def test_without_a_label_no_worth_is_told(project: app.Project):
    report = project.backtest(rules=project.context.paths.folder / "drafts", as_of="2026-03-20")
    document = report.brief()
    (remark,) = report.remarks

    assert remark.startswith("Of 3 events that are old enough NOT ONE HAS A LABEL")
    assert document["remarks"] == [remark]
    assert [document["balance"][name] for name in ("net", "low", "high", "labelled")] == [None, None, None, 0]
    assert "worth" not in sentence(report)
    assert "0 more reviews" not in sentence(report)
    assert escape(remark) in page(report)


def test_what_is_too_young_to_be_known_has_no_worth_either(log: MemoryLog):
    report = backtest(log, draft(), period=JudgedPeriod(read_time("2026-03-03T00:00:00Z")))

    assert ["younger than the label delay" in remark for remark in report.remarks] == [True]
    assert "NOT ONE HAS A LABEL" not in report.remarks[0]
    assert report.brief()["balance"]["net"] is None


def test_of_files_without_labels_it_is_told_however_young_they_are(project: app.Project):
    (project.context.paths.folder / "april.jsonl").write_text(
        '{"id": "f1", "at": "2026-04-01T12:00:00Z", "card": "c", "amount": "150.00"}\n', encoding="utf-8"
    )
    folder = project.context.paths.folder
    (remark,) = project.backtest(rules=folder / "drafts", files=folder / "april.jsonl", as_type="payment").remarks

    assert "NOT ONE HAS A LABEL" in remark


@pytest.mark.parametrize("span", [{"start_ms": LATER}, {"end_ms": read_time("2026-02-01T00:00:00Z")}])
def test_a_stretch_without_events_is_refused_with_the_span_of_the_log(log: MemoryLog, span: dict[str, int]):
    with pytest.raises(UsageError, match="of 2026-03-01T12:00:00Z to 2026-03-01T23:00:00Z") as raised:
        backtest(log, draft(), period=JudgedPeriod(LATER, **span))

    assert "no event of the log that is decided lies from" in str(raised.value)


def test_the_command_tells_people_the_answer_first(project: app.Project, capsys: pytest.CaptureFixture[str]):
    folder = project.context.paths.folder
    code = run(["-C", str(folder), "backtest", "--policy", str(folder / "policy.yaml")])
    text = capsys.readouterr().out

    assert code == 0
    assert text.startswith("3 events backtested in")
    assert UNKNOWABLE in text


def test_the_command_that_is_proposed_asks_for_the_same_draft(
    project: app.Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = project.context.paths.folder
    train(project.context.registry, "m-20260301-aaaa")
    (folder / "score now.yaml").write_text("payment: { score: { decline_at: 0.0 } }\n", encoding="utf-8")
    monkeypatch.chdir(folder)
    draft = ["--policy", "score now.yaml", "--model", "m-20260301-aaaa"]
    span = ["--from", "2026-01-01", "--to", "2027-01-01", "--as-of", "2026-12-31"]
    assert run(["backtest", *draft, *span, "--rules", "drafts"]) == 0
    first = capsys.readouterr()
    (proposed,) = [line for line in first.err.splitlines() if line.startswith("Next: ")]
    words = shlex.split(proposed.removeprefix("Next: shroff "))

    assert words[0] == "backtest"
    assert set(words) == {"backtest", *draft, *span, "--rules", "drafts", "--report", "backtest.html"}
    assert run(words) == 0
    again = capsys.readouterr().out
    assert again.splitlines()[1:] == first.out.splitlines()[1:]
    assert (folder / "backtest.html").exists()


RULE = "- {{ id: tried, on: payment, by: card, effect: decline, when: '{}' }}\n"
LISTED = [  # a list that is asked of the event, behind a flag, and of past events, so that state depends on it
    "this.card in lists.blocked",
    "this.card in lists.blocked and count(payment) over 7d since flag including this >= 2",
    "count(payment where payment.card in lists.blocked) over 7d including this >= 2",
    # State of a list behind a flag: each version takes a pass of its own, which begins with the hits of those before.
    "count(payment where payment.card in lists.blocked) over 7d since flag including this >= 2",
    "this.amount > 20 and this.card not in lists.blocked",
]
NOTHING_DONE = ["this.amount > 1_000_000", "this.card in lists.blocked and this.amount > 1_000_000"]


def decided_in_parts(draft: str = "") -> tuple[MemoryLog, dict[str, str]]:
    """A log whose list and thresholds change on the way, and its outcomes; with a draft in force from the start."""
    log = MemoryLog()
    reviews = "payment: { score: { review_at: 0.5 }, without_model: review }\n"
    parts = [({}, ""), ({}, "c1\n"), ({"policy.yaml": reviews}, "c1\nc2\n"), ({}, "c2\n")]
    if draft:  # it is held against the project of the end, so that has its thresholds throughout
        parts = [({}, rows) for _, rows in parts]
    for number, (files_changed, rows) in enumerate(parts):
        files = {**FILES, **files_changed, "lists/blocked.csv": f"value\n{rows}"}
        laid = [DraftFile("rules/", "drafts/r.yaml", RULE.format(draft))] if draft else []
        paid = [payment(10 * number + at, 60 * number + at, card=f"c{at % 3}", amount=f"{9 * at}") for at in range(9)]
        Writer(log, load_definitions(files, draft=laid).or_raise(), lambda: NOW_MS).write(paid)
    return log, {row.id: row.outcome for rows in log.decisions.after() for row in rows}


@pytest.mark.parametrize("when", [*LISTED, *NOTHING_DONE])
def test_lists_are_as_of_each_event_and_nothing_else_is_charged_to_the_draft(when: str):
    log, recorded = decided_in_parts()
    files = {**FILES, "lists/blocked.csv": "value\nc2\n"}
    draft = load_definitions(files, draft=[DraftFile("rules/", "drafts/r.yaml", RULE.format(when))]).or_raise()
    report = backtest(log, draft, ["drafts/"], period=JudgedPeriod(LATER))
    (judged,) = report.verdicts.types.values()
    old, new = (
        {id_: OUTCOMES[code] for id_, code in zip(judged.ids.to_pylist(), side, strict=True)}
        for side in (judged.old, judged.new)
    )
    _, without = decided_in_parts("this.amount > 1_000_000")

    assert new == decided_in_parts(when)[1]
    assert old == without
    assert report.recorded.differ == sum(recorded[id_] != outcome for id_, outcome in without.items()) > 0
    assert report.recorded.because == ["thresholds"]
    assert bool(report.changed) == (when in LISTED)
    assert sentence(report).startswith("The draft changes nothing") == (when in NOTHING_DONE)
    assert "other reasons: thresholds changed since" in str(report)
