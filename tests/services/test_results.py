"""Results: sums are those of plain Python, labels count as known then, and estimates hold what comes true."""

from __future__ import annotations

import csv
import io
import re
from datetime import date, timedelta
from decimal import Decimal
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.cases import case_actions, dispositions
from shroff.cases.labels import LabelHistory, LabelSaid, maturity_in
from shroff.errors import StateError, UsageError
from shroff.events.event import time_text
from shroff.explain.hit_records import HitRecords
from shroff.language.values import DAY_MS, HOUR_MS
from shroff.monitoring.day_figures import figures_by_day
from shroff.notices.reports.report_figures import figures_of
from shroff.notices.triggers import due_of
from shroff.runtime.values import replace
from shroff.services.experiments.operations import ShowExperiment
from shroff.services.labels import reports as label_reports
from shroff.services.labels.reports import LabelReports
from shroff.services.lake.operations import WriteLake
from shroff.services.results import figures as result_figures
from shroff.services.results.figures import DecidedEvents, explored_declines, final_fraud, period_codes
from shroff.services.results.operations import ResultRow, ShowResults, csv_lines
from shroff.streams.log import Log
from shroff.training.sets.labels import LABELS
from tests.support.telling import NOW_MS, Bank, payment

DAYS, DAY = 20, timedelta(1)
NOW_DAY = date(2026, 5, 28)
OUTCOMES = {"approved": "approve", "challenged": "challenge", "reviewed": "review", "declined": "decline"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Bank:
    """Three payments a day for twenty days, small and large ones by turns, half of them labeled after some days."""
    bank = Bank(
        tmp_path_factory.mktemp("results"),
        {"notices/customer.yaml": None, "shroff.yaml": "shroff: 1\nname: small\nmoney: EUR\n"},
    )
    numbers = list(product(range(DAYS), range(3)))
    bank.pay(*(of_number(day, number) for day, number in numbers))
    for day, number in numbers[::2]:
        verdict = "fraud" if (day + number) % 3 else "genuine"
        known_at = time_text(of_number(day, number)["at"] + (1 + number) * DAY_MS)
        bank.project.label(f"payment/{day}-{number}", verdict, source="chargeback", known_at=known_at)
    return bank


def of_number(day: int, number: int) -> dict[str, object]:
    at_ms = NOW_MS - (DAYS - 1 - day) * DAY_MS
    amount = f"{(day * 7 + number * 61) % 190}.{number}5"
    return payment(f"{day}-{number}", amount, at=at_ms, card=f"c-{day}", merchant=("a", "b", None)[number])


def plain(bank: Bank, as_of_ms: int) -> list[tuple[date, str | None, str, Decimal, str | None]]:
    """Day, merchant, outcome, amount and verdict of each payment, by what was known at a moment."""
    found = []
    for day, number in product(range(DAYS), range(3)):
        sent = of_number(day, number)
        if sent["at"] > as_of_ms:
            continue
        amount = Decimal(str(sent["amount"]))
        is_known = (day * 3 + number) % 2 == 0 and sent["at"] + (1 + number) * DAY_MS <= as_of_ms
        verdict = ("fraud" if (day + number) % 3 else "genuine") if is_known else None
        outcome = "review" if amount > 100 else "approve"
        found.append((NOW_DAY - timedelta(DAYS - 1 - day), sent["merchant"], outcome, amount, verdict))
    return found


def check_row(row: ResultRow, events: list[tuple[date, str | None, str, Decimal, str | None]]) -> None:
    def of(outcomes: set[str], verdict: str) -> tuple[int, Decimal]:
        amounts = [amount for *_, outcome, amount, known in events if outcome in outcomes and known == verdict]
        return len(amounts), sum(amounts, Decimal("0.00"))

    assert (row.events, Decimal(row.volume)) == (len(events), sum((event[3] for event in events), Decimal(0)))
    for name, outcome in OUTCOMES.items():
        amounts = [event[3] for event in events if event[2] == outcome]
        assert (getattr(row, name), Decimal(getattr(row.money, name))) == (len(amounts), sum(amounts, Decimal(0)))
    fraud = of(set(OUTCOMES.values()), "fraud")
    assert (row.fraud.count, Decimal(row.fraud.money)) == fraud
    assert row.fraud.basis_points == (round(float(fraud[1] / Decimal(row.volume) * 10_000), 2) if events else None)
    assert (row.caught, Decimal(row.money_saved)) == of({"challenge", "review", "decline"}, "fraud")
    assert (row.missed, Decimal(row.money.missed)) == of({"approve"}, "fraud")
    assert (row.false_declines, row.unlabeled_declines) == (0, 0)


@given(st.sampled_from(["day", "week", "month", "merchant"]), st.integers(0, DAYS + 3), st.integers(0, 19), st.data())
def test_rows_are_those_of_plain_python(bank, by, as_of_day, first_day, data):
    as_of_ms = NOW_MS - (DAYS - 1 - as_of_day) * DAY_MS
    first = NOW_DAY - timedelta(first_day)
    last = first + timedelta(data.draw(st.integers(0, first_day)))
    question = ShowResults(start=first, end=last, by=by, as_of=time_text(as_of_ms))

    found = bank.project.run(question)

    events = [event for event in plain(bank, as_of_ms) if first <= event[0] <= last]
    for row in found.rows:
        here = [event for event in events if row.start <= event[0] <= row.end]
        check_row(row, [event for event in here if event[1] == row.value] if by == "merchant" else here)
    check_row(found.total, events)
    of_days = bank.project.run(replace(question, by="day"))
    assert found.total.estimate == of_days.total.estimate, "whatever the rows are"
    earlier = [event for event in plain(bank, as_of_ms) if timedelta(0) < first - event[0] <= last - first + DAY]
    if found.before is not None:
        check_row(found.before, earlier)
        assert found.total.change.get("events") == change(len(events), len(earlier))
        assert found.total.change.get("volume") == change(*(sum(of[3] for of in part) for part in (events, earlier)))
        if by == "merchant":
            for row in found.rows:
                same = [event for event in earlier if event[1] == row.value]
                assert row.change.get("events") == change(row.events, len(same))
    else:
        assert not found.total.change
    is_there = first - (last - first + DAY) > NOW_DAY - timedelta(DAYS - 1)  # of which the log has only a part
    is_there = is_there and last <= NOW_DAY - timedelta(DAYS - 1 - as_of_day)  # days that are still to come have none
    assert (found.before is not None) == (is_there and found.total is not None)
    assert sum(row.events for row in found.rows) == len(events)
    if by != "merchant":
        assert [row.start for row in found.rows[1:]] == [row.end + timedelta(1) for row in found.rows[:-1]]
        assert all(row.start.weekday() == 0 for row in found.rows[1:] if by == "week")
        assert (found.rows[0].start, found.rows[-1].end) == (first, last)


def change(now, before):
    return float(Decimal(now) / Decimal(before) - 1) if before else None


def test_a_week_is_compared_with_the_one_above_if_that_is_as_long(bank):
    found = bank.project.run(ShowResults(by="week", start=date(2026, 5, 9), end=date(2026, 5, 24)))

    assert [row.end - row.start for row in found.rows] == [timedelta(1), timedelta(6), timedelta(6)]
    assert [bool(row.change) for row in found.rows] == [False, False, True]
    assert found.rows[2].change["volume"] == change(found.rows[2].volume, found.rows[1].volume)
    later = bank.project.run(ShowResults(by="week", start=date(2026, 5, 18), end=date(2026, 5, 31)))
    assert (later.rows[1].change, later.total.change, later.before) == ({}, {}, None), "the week is not over yet"


def test_what_comes_after_a_look_counts_in_the_next(bank):
    before = bank.project.run(ShowResults()).total
    bank.pay(payment("later", "150.00", at=NOW_MS + DAY_MS))
    bank.project.label("payment/later", "fraud", source="chargeback", known_at=time_text(NOW_MS + DAY_MS))
    after = bank.project.run(ShowResults()).total

    assert (after.events, after.caught) == (before.events + 1, before.caught + 1)
    assert Decimal(after.money_saved) == Decimal(before.money_saved) + 150


def test_a_look_that_fails_halfway_counts_nothing_twice(bank, monkeypatch):
    before = bank.project.run(ShowResults()).total
    bank.pay(payment("later still", "20.00", at=NOW_MS + DAY_MS))
    with monkeypatch.context() as there:
        there.setattr(result_figures, "outcomes_of", lambda *_: 1 / 0)  # once the events are read
        with pytest.raises(ZeroDivisionError):
            bank.project.run(ShowResults())

    assert bank.project.run(ShowResults()).total.events == before.events + 1


TRY = "payment: { experiment: { name: stricter, share: 50%, by: card, rules: { large: true } } }\n"
DRAFT = "- { id: large, on: payment, by: card, when: this.amount > 100, effect: review, shadow: true }\n"


@pytest.mark.slow
def test_a_pruned_log_counts_as_before_and_says_which_lake_is_away(tmp_path):
    kept = "shroff: 1\nname: small\nmoney: EUR\nlateness: 1h\nlake: ./lake\nkeep: 3d\n"
    week = "on: report\nevery: week\nto: [team@bank.example]\n"
    files = {
        "notices/customer.yaml": None,
        "notices/week.yaml": week,
        "shroff.yaml": kept,
        "policy.yaml": TRY,
        "rules/large.yaml": DRAFT,
    }
    bank = Bank(tmp_path, files)
    bank.pay(*(of_number(day, number) for day in range(DAYS) for number in range(2)), payment("young", "5.00"))
    for day in range(0, DAYS, 3):
        at_ms = of_number(day, 0)["at"] + HOUR_MS
        bank.project.label(f"payment/{day}-0", "fraud", source="chargeback", known_at=time_text(at_ms))
    bank.clock_ms += 60 * DAY_MS
    bank.pay(payment("now", "5.00", at=bank.clock_ms))

    def newest_hits(log: Log) -> list[str]:
        records = HitRecords()
        records.follow(log, bank.project.definitions)
        return [hit.name for hit in records.newest("large", None, 100)]

    def answers() -> list[object]:
        with bank.project.log.reading() as log:
            week, told = bank.services.notices["week"], {"day": f"{NOW_DAY - 4 * DAY}"}
            figures = figures_of(bank.services, week, due_of(week, "report", "", NOW_MS, told=told), log)
            assert figures.change, "of the week before"
            hits = newest_hits(log)
        found = [bank.project.run(ShowResults(by=by)) for by in ("card", "merchant", "rule", "month")]
        return [
            *(msgspec.json.encode(answer) for answer in found),
            msgspec.json.encode(bank.project.run(ShowExperiment(rule="stricter"))),
            msgspec.json.encode(bank.project.label_reports.look(), enc_hook=lambda times: times.tolist()),
            bank.project.label_reports.decisions_with(["approve"], "fraud", None, "", ("card", "c-3"), None)[
                0
            ].tolist(),
            figures,
            hits,
        ]

    whole = answers()
    bank.project.run(WriteLake())
    pruned = bank.project.retention.prune().upto
    bank.write({})  # opened anew

    assert pruned > DAYS
    assert answers() == whole
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    bank.write({})
    for question in (ShowResults(), ShowExperiment(rule="stricter")):
        with pytest.raises(StateError, match="there is no lake in"):
            bank.project.run(question)
    with bank.project.log.reading() as log:
        assert len(newest_hits(log)) < len(whole[-1]), "a page needs no lake"
    bank.write({"shroff.yaml": kept.replace("lake: ./lake\nkeep: 3d\n", "")})
    with pytest.raises(StateError, match=f"records up to sequence number {pruned} have moved to the lake"):
        bank.project.run(ShowResults())


def test_days_of_which_the_log_has_a_part_are_compared_with_nothing(bank):
    second, first_ms = NOW_DAY - (DAYS - 2) * DAY, of_number(0, 0)["at"]
    part = bank.project.run(ShowResults(by="day", start=second - DAY, end=second + DAY))
    of_merchants = [ShowResults(by="merchant", start=second + at * DAY, end=second + at * DAY) for at in range(2)]
    part_before, before = (bank.project.run(question) for question in of_merchants)

    assert first_ms % DAY_MS, "the log begins within its first day"
    assert [bool(row.change) for row in part.rows] == [False, False, True]
    assert (part_before.before, any(row.change for row in part_before.rows)) == (None, False)
    assert (before.before is not None, any(row.change for row in before.rows)) == (True, True)


def test_events_of_more_than_a_year_before_the_newest_are_not_left_out_without_a_word(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None})
    bank.pay(payment("old", "20.00", at=NOW_MS - 500 * DAY_MS), payment("new", "20.00"))
    oldest = NOW_DAY - timedelta(500)
    found, asked = bank.project.run(ShowResults(by="month")), bank.project.run(ShowResults(start=NOW_DAY))

    assert (found.total.events, found.oldest, asked.oldest) == (1, oldest, None)
    assert f"Events since {oldest} lie before these days: --from {oldest} shows them." in found.text()
    assert bank.project.run(ShowResults(start=oldest)).total.events == 2
    assert "lie before" not in asked.text()


def test_friendly_fraud_is_genuine_in_results_and_in_the_figures_of_days(tmp_path):
    model = "payment: { inputs: [payment.amount], friendly_fraud: [friendly] }\n"
    bank = Bank(tmp_path, {"notices/customer.yaml": None, "model.yaml": model})
    bank.pay(of_number(0, 0), of_number(0, 1))
    known_at = time_text(NOW_MS)
    for number, reason in enumerate(("friendly", "stolen")):
        bank.project.label(f"payment/0-{number}", "fraud", source="chargeback", reason=reason, known_at=known_at)

    with bank.project.log.reading() as log:
        (day,) = figures_by_day(log, bank.project.definitions, [NOW_MS, NOW_MS + 1])
    assert (day.fraud.counts.total(), day.genuine.counts.total()) == (1, 1)
    assert bank.project.run(ShowResults()).total.fraud.count == 1


def test_a_friendly_fraud_that_becomes_another_one_and_back_is_counted_on_each_day(tmp_path):
    model = "payment: { inputs: [payment.amount], friendly_fraud: [friendly] }\n"
    bank = Bank(tmp_path, {"notices/customer.yaml": None, "model.yaml": model})
    bank.pay(of_number(0, 0), of_number(0, 1))
    reasons = ["friendly", "stolen", "stolen", "friendly", "weak", "friendly"]
    for day, reason in enumerate(reasons):
        source, known_at = "customer" if reason == "weak" else "chargeback", time_text(NOW_MS + day)
        bank.project.label("payment/0-0", "fraud", source=source, reason=reason, known_at=known_at)
    with bank.project.log.reading() as log:
        days = figures_by_day(log, bank.project.definitions, [NOW_MS + day for day in range(7)])
        later = figures_by_day(log, bank.project.definitions, [NOW_MS + 3, NOW_MS + 4])

    told = [(day.fraud.counts.total(), day.genuine.counts.total()) for day in days]
    assert told == [(0, 1), (1, 0), (0, 0), (0, 1), (0, 0), (0, 0)]
    assert [(day.fraud.counts.total(), day.genuine.counts.total()) for day in later] == [told[3]]


def test_a_day_without_events_has_no_rates_and_no_change_of_what_is_unknown(tmp_path):
    bank = Bank(tmp_path, {"notices/customer.yaml": None})
    bank.pay(*(payment(f"p-{ago}", "20.00", at=NOW_MS - ago * DAY_MS) for ago in (3, 2, 0)))
    found = bank.project.run(ShowResults(by="day", start=NOW_DAY - 2 * DAY))
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_lines(found)).decode())))

    assert [row.change.get("events") for row in found.rows] == [None, -1, None]
    assert [name for name in found.rows[1].change if "rate" in name or "basis" in name] == []
    assert [row["decline_rate.share"] for row in rows] == ["0.0", "", "0.0"]
    assert all(None not in row and None not in row.values() for row in rows), "as many cells in each as in the head"


TYPES = """
payment: { id: id, time: at, decide: true, fields: { id: text, at: time, card: text?, amount: money, code: integer? } }
visit: { id: id, time: at, decide: true, fields: { id: text, at: time, card: text?, code: text? } }
login: { id: id, time: at, decide: true, fields: { id: text, at: time, card: text?, code: boolean? } }
entities: { card: { payment: card, visit: card, login: card } }
"""


def test_a_value_of_several_types_has_one_row_by_its_text(tmp_path):
    bank = Bank(
        tmp_path, {"notices/customer.yaml": None, "events.yaml": TYPES, "rules/large.yaml": None, "policy.yaml": None}
    )
    of_type = {"payment": (1, {"amount": "2.50"}), "visit": ("1", {}), "login": (True, {})}
    at = time_text(NOW_MS)
    bank.project.decide(
        [{name: {"id": name, "at": at, "code": code, **more}} for name, (code, more) in of_type.items()]
    )
    found = bank.project.run(ShowResults(by="code"))
    places, totals = bank.project.label_reports.decisions_with(["approve"], "", None, "", ("code", "1"), None)

    assert [(row.value, row.events, row.volume) for row in found.rows] == [("1", 2, "2.50"), ("true", 1, "0.00")]
    assert (len(places), totals[0]) == (2, (2, 250))


def test_pages_of_the_decisions_of_a_label_read_a_long_log_once(bank, monkeypatch):
    reports, reads, decided = bank.project.label_reports, list[str](), LabelReports.decided_events

    def decided_events(reports: LabelReports, by: str, as_of_ms: int) -> DecidedEvents:
        reads.append(by)
        return decided(reports, by, as_of_ms)

    def page(as_of: str | None, label: str = "fraud") -> list[int]:
        return reports.decisions_with(["approve", "review", "decline"], label, None, "", None, as_of)[0].tolist()

    monkeypatch.setattr(LabelReports, "decided_events", decided_events)
    short = page(time_text(NOW_MS)), page(time_text(NOW_MS))
    monkeypatch.setattr(label_reports, "KEPT_BACK", 0)
    long = page(time_text(NOW_MS)), page(time_text(NOW_MS))
    kept = len(reads)
    others = page(time_text(NOW_MS), "genuine"), page(None), page(None)

    assert (kept, len(reads)) == (2 + 1, 2 + 1 + 3)
    assert [*short, *long] == [long[0]] * 4
    assert others[0] != long[0]
    assert others[1] == others[2]


def test_basis_points_have_two_places_in_every_row_of_the_table(bank):
    head, *lines = bank.project.run(ShowResults(by="day")).text().split("\n\n")[0].splitlines()
    end = head.index("basis points") + len("basis points")
    points = [line[:end].split()[-1] for line in lines[:DAYS]]

    assert all(re.fullmatch(r"[\d,]+\.\d\d", point) for point in points), points


def test_csv_has_every_row(bank):
    found = bank.project.run(ShowResults(by="day"))
    rows = list(csv.DictReader(io.StringIO(b"".join(csv_lines(found)).decode())))

    assert [(row["from"], row["events"], row["fraud.money"], row["money.missed"]) for row in rows] == [
        (str(row.start), str(row.events), row.fraud.money, row.money.missed) for row in found.rows
    ]
    assert [row["change.volume"] for row in rows] == [str(row.change.get("volume", "")) for row in found.rows]
    assert {row["mature"] for row in rows} == {"true", "false"}
    assert all(None not in row and None not in row.values() for row in rows), "as many cells in each as in the head"


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (ShowResults(by="merchan"), "by: 'merchan' is no period and no field of the decided events.*merchant"),
        (ShowResults(by="email"), "'email' is no period and no field.*There is day, week, month, rule, card"),
        (ShowResults(start=NOW_DAY, end=NOW_DAY - timedelta(1)), "the last day, 2026-05-27, is before the first"),
        (ShowResults(zone="Nowhere"), "Nowhere"),
    ],
)
def test_wrong_questions_are_told_apart(bank, question, says):
    with pytest.raises(UsageError, match=says):
        bank.project.run(question)


# ---- estimates


def came_true(seed: int, days: int = 70, a_day: int = 400, burst: float = 1.0, apart: float = 0.0) -> list[bool]:
    """Whether the final fraud of each week, and of all, lies in its interval: labels come after weeks, some never yet.

    Args:
        burst: Frauds that follow each other, in the mean.
        apart: How far the rates of weeks differ, as the deviation of their logarithm.
    """
    drawn = np.random.default_rng(seed)
    count, end_ms = a_day * days, days * DAY_MS
    times = np.sort(drawn.integers(0, end_ms, count))
    rates = 0.004 * np.exp(apart * drawn.standard_normal(days // 7))
    is_fraud = np.zeros(count, np.bool_)
    for start in np.flatnonzero(drawn.random(count) < rates[times // (7 * DAY_MS)] / burst).tolist():
        is_fraud[start : start + 1 + int(drawn.poisson(burst - 1))] = True
    amounts = np.round(np.exp(drawn.normal(4, 1, count)) * 100).astype(np.int64)
    known_at = times + (drawn.lognormal(np.log(12), 0.8, count) * DAY_MS).astype(np.int64)
    is_known = is_fraud & (known_at <= end_ms)
    histories = {
        ("payment", str(row)): LabelHistory(
            int(times[row]), [LabelSaid("fraud", "chargeback", int(known_at[row]), row, None)]
        )
        for row in np.flatnonzero(is_known).tolist()
    }
    events = DecidedEvents(
        times, amounts, np.zeros(count, np.int8), np.where(is_known, 0, 3).astype(np.int8), np.full(count, -1), []
    )
    weeks = period_codes(events, [week * 7 * DAY_MS for week in range(days // 7 + 1)])
    shares = maturity_in(histories, end_ms).known_shares()
    found = final_fraud(events, weeks, days // 7, end_ms, shares)
    true = np.bincount(weeks[is_fraud], amounts[is_fraud], days // 7)
    return [low <= total <= high for (low, high), total in zip(found, [*true, true.sum()], strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(("burst", "apart"), [(1.0, 0.0), (4.0, 0.5)])
def test_what_comes_true_lies_in_the_interval_of_90_percent(burst, apart):
    found = np.array([came_true(seed, burst=burst, apart=apart) for seed in range(30)])

    assert found[:, -1].sum() >= 25, "of all weeks together"
    assert found[:, :-1].mean() >= 0.85, "of single weeks"


def test_too_few_frauds_say_nothing():
    events = DecidedEvents(
        np.arange(9), np.full(9, 100), np.zeros(9, np.int8), np.zeros(9, np.int8), np.full(9, -1), []
    )
    assert final_fraud(events, np.zeros(9, np.int64), 1, DAY_MS, [(0.5, 0.1)]) == [None, None]


# ---- rules, reviewers' hours, explored declines

RULES = """
- { id: large, on: payment, by: card, when: this.amount > 100, effect: review }
- { id: round, on: payment, by: card, when: this.amount == 50 or this.amount == 150, effect: review, shadow: true }
"""
LIMITED = "cases: { lock: 30m }\n"


@pytest.mark.slow
def test_rules_and_reviews_are_those_of_the_month(tmp_path):
    files = {"shroff.yaml": f"shroff: 1\nname: small\nmoney: EUR\n{LIMITED}", "rules/large.yaml": RULES}
    bank = Bank(tmp_path, {**files, "notices/customer.yaml": None})
    amounts = ["150.00", "120.00", "50.00", *["20.00"] * 9]
    bank.pay(
        *(payment(f"p-{at}", amount, card=f"c-{at}", at=NOW_MS - 20 * DAY_MS + at) for at, amount in enumerate(amounts))
    )
    with bank.project.cases.open() as desk:
        case_actions.claim(desk, bank.project.context.who, 1)
        bank.clock_ms += HOUR_MS * 4 // 10  # longer than a lock is where nothing says how long
        dispositions.decide(desk, bank.project.context.who, 1, "fraud")
    for at, verdict, reason in (
        (0, "fraud", "seen"),
        (1, "genuine", "seen"),
        (2, "fraud", "seen"),
        (3, "fraud", "dispute dispute"),
    ):
        known = {"known_at": time_text(NOW_MS - 10 * DAY_MS), "source": "chargeback" if at == 3 else "analyst"}
        bank.project.label(f"payment/p-{at}", verdict, reason=reason, **known)

    found = bank.project.run(ShowResults(by="rule", end=NOW_DAY))

    rows = {
        row.value: (row.events, row.volume, row.fraud.count, row.caught, row.review_fraud_rate) for row in found.rows
    }
    assert rows == {"large": (2, "270.00", 1, 1, 0.5), "round": (2, "200.00", 2, 1, 1.0)}
    assert (found.total.events, found.total.volume) == (len(amounts), "500.00")
    assert found.review_hours == 0.4


def test_a_review_over_midnight_counts_for_the_day_on_which_it_ended(tmp_path):
    bank = Bank(tmp_path, {"rules/large.yaml": RULES, "notices/customer.yaml": None})
    bank.pay(payment("p-1", "150.00"))
    with bank.project.cases.open() as desk:
        case_actions.claim(desk, bank.project.context.who, 1)
        bank.clock_ms += HOUR_MS
        dispositions.decide(desk, bank.project.context.who, 1, "fraud")
    ended_ms = bank.clock_ms

    assert bank.project.cases.worked_ms(ended_ms, ended_ms + DAY_MS) == HOUR_MS // 4, "as long as a claim locks it"
    assert bank.project.cases.worked_ms(ended_ms - DAY_MS, ended_ms) == 0


def test_explored_declines_are_worth_what_their_weights_say():
    labels = np.array([LABELS.index(label) for label in ("fraud", "genuine", "fraud", "none", "unclear", "fraud")])
    events = DecidedEvents(
        np.arange(6),
        np.full(6, 100),
        np.zeros(6, np.int8),
        labels.astype(np.int8),
        np.full(6, -1),
        [],
        np.array([7, 9, 4, 5, 6, 3]),
        {"some": [4, 9, 8]},
        {4: 0.5, 9: 0.25, 5: 0.1, 8: 0.1, 6: 0.1, 3: 0.2},
    )
    found, money = explored_declines(events, 0, 5) or (None, 0)

    # 7 was not explored, of 6 nothing is clear, 3 is too young; 5 is old enough to be genuine without a label
    assert (found.drawn, found.share, money) == (3, 2 / 16, 200)
    assert events.by_rule().times_ms.tolist() == [2, 1]
    assert explored_declines(events, 4, 5) is None
