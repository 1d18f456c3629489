"""The model's part of an explanation: what added to a score, what is normal, what would give another outcome."""

from __future__ import annotations

import json
import math
import re
import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from shroff.cli.main import run
from shroff.explain.changes import Changes, Counterfactual
from shroff.explain.entities import EntityLook
from shroff.explain.model import ModelReason, Story
from shroff.explain.past import PastDecision
from shroff.language.expression import Call, Compare, FeatureValue, Literal, ThisField
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TIME, money, number
from shroff.language.values import HOUR_MS
from shroff.models.model import Explainable
from shroff.models.model_contributions import SUM_ERROR, steps, units_of
from shroff.models.registry import Registry
from shroff.project.policy import OUTCOMES, Policy, outcome
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.web.pages.charts.strips import strip_between
from shroff.web.pages.charts.windows import FeatureTexts, windows_of
from shroff.web.pages.decision import looked
from shroff.web.pages.renderer import environment
from shroff.web.pages.words import in_zone, reason_texts
from tests.support import learnable
from tests.support.projects import FILES, definitions, write_files
from tests.support.trained import train

pytestmark = pytest.mark.slow  # its tests share trained models

INPUTS = ("payment.amount", "card.payments_1h", "hour(payment.at)", "weekday(payment.at)", "card.spent_1d")
POLICY = Policy(review_at=0.5, decline_at=0.95)
POLICY_TEXT = "payment:\n  score: { review_at: 0.5, decline_at: 0.95 }\n"
FEATURES = """
card:
  payments_1h: count(payment) over 1h
  spent_1d: sum(payment.amount) over 1d including this
"""
GRID = 500_000  # cents: all amounts that the small models part


@pytest.fixture(name="bank")
def _bank(tmp_path: Path) -> Path:
    """The small project whose champion reads an amount, the hour, the weekday and two features."""
    folder = tmp_path / "small"
    write_files(folder, {**FILES, "policy.yaml": POLICY_TEXT, "features.yaml": FEATURES})
    train(Registry(folder / "models"), "m-1", INPUTS)
    return folder


def decide(bank, count, first=1, cards=2):
    fields = [
        {
            "id": f"p{n}",
            "at": f"2026-03-01T{n % 24:02d}:30:00Z",
            "card": f"c{n % cards}",
            "amount": f"{n * 37 % 190}.00",
        }
        for n in range(first, first + count)
    ]
    return app.open(bank).decide(fields, as_type="payment")


def in_force(bank, count=12):
    """Decisions of the champion, some before it was there."""
    decide(bank, 5)
    app.open(bank).models.promote("m-1")
    return decide(bank, count, first=6)


def explained(bank, id_):
    return json.loads(app.open(bank).explain(id_).json())


def outcomes_by_amount(scores, policy):
    """What each amount from 0.00 up gives, all else as it was, by the model's scores, the rule and the policy."""
    hits = np.arange(GRID) > 10_000
    found = np.zeros(GRID, np.int8)
    for hit in (False, True):
        for low, high in ((0.0, policy.review_at), (policy.review_at, policy.decline_at), (policy.decline_at, 1.1)):
            here = (hits == hit) & (scores >= low) & (scores < high)
            found[here] = OUTCOMES.index(outcome(["review"] if hit else [], policy, low, has_model=True))
    return found


# ---- what added to the score


def test_contributions_and_base_sum_to_the_margin_of_every_decision(bank):
    for decision in in_force(bank):
        found = explained(bank, decision.id)
        part = found["explanation"]["model"]
        amounts = [reason["contribution"] for reason in found["reasons"] if reason["kind"] == "model"]
        bound = SUM_ERROR * (sum(map(abs, amounts)) + abs(part["base"])) + 5e-7 * (len(INPUTS) + 1)

        assert part["score"] == decision.score
        assert part["problem"] == ""
        assert abs(sum(amounts) + part["base"] - part["margin"]) <= bound
        assert [abs(amount) for amount in amounts] == sorted(map(abs, amounts), reverse=True)


def test_the_models_reasons_stand_behind_those_of_rules_and_nothing_else_changes(bank):
    in_force(bank)
    decision = next(item for item in decide(bank, 12, first=100) if item.rules)
    project = app.open(bank)
    text = project.explain(decision.id).json()
    with project.log.reading() as log:
        recorded = log.decisions.of("payment", [decision.id])[decision.id].document
    shown, was = (msgspec.json.decode(element, type=dict[str, msgspec.Raw]) for element in (text, recorded))

    assert list(shown) == [*was, "explanation"]
    assert all(bytes(shown[name]) == bytes(was[name]) for name in was if name != "reasons")
    reasons = json.loads(bytes(shown["reasons"]))
    assert reasons[0] == json.loads(bytes(was["reasons"]))[0]
    assert [reason["kind"] for reason in reasons] == ["rule", *["model"] * 4]
    assert set(reasons[1]) - {"inputs"} == {"code", "kind", "text", "contribution"}


def test_inputs_made_of_one_field_are_one_reason_that_names_them(bank):
    decision = in_force(bank)[-1]
    reasons = {
        reason["code"]: reason for reason in explained(bank, decision.id)["reasons"] if reason["kind"] == "model"
    }

    assert sorted(reasons) == ["card.payments_1h", "card.spent_1d", "payment.amount", "payment.at"]
    parts = reasons["payment.at"]["inputs"]
    assert {part["input"] for part in parts} == {"hour(payment.at)", "weekday(payment.at)"}
    assert abs(parts[0]["contribution"]) >= abs(parts[1]["contribution"])
    assert reasons["payment.at"]["contribution"] == pytest.approx(sum(part["contribution"] for part in parts), abs=2e-6)
    assert parts[0]["input"] == "hour(payment.at)"
    assert re.fullmatch(
        r"at 17:30 UTC, normally (not )?(before|between) .*:\d\d UTC for this card", reasons["payment.at"]["text"]
    )
    assert "inputs" not in reasons["payment.amount"]


# ---- what is normal


def amount_text(bank, id_):
    return next(reason["text"] for reason in explained(bank, id_)["reasons"] if reason["code"] == "payment.amount")


def test_a_value_stands_beside_what_is_normal_for_this_card(bank):
    in_force(bank)
    usual = [{"id": f"u{n}", "at": f"2026-03-02T{n:02d}:00:00Z", "card": "own", "amount": "20.00"} for n in range(20)]
    odd = {"id": "odd", "at": "2026-03-03T03:00:00Z", "card": "own", "amount": "80.00"}
    app.open(bank).decide([*usual, odd], as_type="payment")

    assert amount_text(bank, "odd") == "amount: 80.00 EUR, normally 20.00 EUR for this card"


def test_a_field_of_the_event_has_its_bar_as_features_have(bank):
    in_force(bank)
    usual = [
        {"id": f"u{n}", "at": f"2026-03-02T{n:02d}:00:00Z", "card": "own", "amount": f"2{n % 9}.00"} for n in range(20)
    ]
    odd = {"id": "odd", "at": "2026-03-03T03:00:00Z", "card": "own", "amount": "80.00"}
    app.open(bank).decide([*usual, odd], as_type="payment")
    whys = {why.code: why for why in looked(app.open(bank), "payment", "odd").all_whys}
    amount, spent = whys["payment.amount"].strip, whys["card.spent_1d"].strip

    assert whys["payment.amount"].normal == "up to 28.00 EUR for this card"
    assert amount is not None
    assert spent is not None
    assert amount.is_far
    assert amount.start + amount.width < amount.mark


def test_a_score_stands_on_its_scale_and_normal_values_are_not_among_the_reasons_shown_first(bank):
    in_force(bank)
    usual = [{"id": f"u{n}", "at": f"2026-03-02T{n:02d}:00:00Z", "card": "own", "amount": "20.00"} for n in range(20)]
    odd = {"id": "odd", "at": "2026-03-03T09:00:00Z", "card": "own", "amount": "80.00"}
    app.open(bank).decide([*usual, odd], as_type="payment")
    found = looked(app.open(bank), "payment", "odd")
    score = found.explained.document["score"]
    bar, cuts = found.bar, (math.sqrt(0.5), math.sqrt(0.95))

    assert bar is not None
    assert (bar.mark, bar.review, bar.decline) == (
        round(100 * math.sqrt(score), 1),
        (round(100 * cuts[0], 1), 0.5),
        (round(100 * cuts[1], 1), 0.95),
    )
    shown = re.sub(r"<[^>]*>", "", str(environment().get_template("parts.html").module.score_bar(bar, score)))
    assert all(words in shown for words in (f"{score:.4f}", "review from ", "0.5000", "decline from ", "0.9500"))
    assert "payment.amount" in {why.code for why in found.whys}
    assert [why.code for why in found.whys if why.is_usual] == []
    assert {item.code for item in found.usual if item.is_usual} == {why.code for why in found.all_whys if why.is_usual}
    assert any(item.is_usual for item in found.usual)


@pytest.mark.parametrize(("type_", "parts"), [(money(2), 100), (INTEGER, 1), (REAL, 1)])
@given(st.lists(st.integers(-60, 9_999), min_size=5), st.lists(st.integers(-60, 9_999), min_size=30), st.data())
def test_a_value_is_drawn_beside_its_band_where_the_text_says_that_it_is_outside(type_, parts, few, many, data):
    earlier = data.draw(st.sampled_from([few, many]))
    value = data.draw(st.sampled_from(earlier) | st.integers(-70, 10_999))
    node = ThisField(type_, "amount")
    story = Story(definitions(), "payment", {}, PastDecision({}, {}, {}, 0), lambda _: (), tuple, "")
    found = story._range(node, value, earlier)
    assert found.ends is not None
    strip = strip_between(value, *found.ends)
    told = [Decimal(text) for text in re.findall(r"-?[\d.]+", found.words.replace(",", ""))]
    least = told[0] if not found.words.startswith("up to") else -math.inf
    most = told[-1] if not found.words.startswith("at least") else math.inf

    assert strip.is_far == (not least <= Decimal(value) / parts <= most) == (not found.is_usual)


@pytest.mark.parametrize(("lacking", "is_usual"), [(0, False), (1, False), (4, True), (40, True)])
def test_a_value_that_is_missing_is_usual_where_it_was_often_missing(lacking, is_usual):
    node = ThisField(INTEGER, "amount")
    story = Story(definitions(), "payment", {}, PastDecision({}, {}, {}, 0), lambda _: (), tuple, "")
    earlier = [*range(60), *[None] * lacking]

    found = story._range(node, None, earlier)

    assert (found.is_usual, found.words.startswith("missing or between")) == (is_usual, is_usual)
    assert story._range(node, 30, earlier) == story._range(node, 30, list(range(60)))


@pytest.mark.parametrize(
    ("function", "earlier", "now", "words", "is_usual"),
    [
        ("hour", [*range(10, 22)] * 2, 3, "not before 10:00 UTC", False),
        ("hour", [*range(10, 22)] * 2, 23, "before 22:00 UTC", False),
        ("hour", [*range(10, 22)] * 2, 12, "between 10:00 and 21:59 UTC", True),
        ("hour", [22, 23, 0, 1] * 5, 0, "between 22:00 and 01:59 UTC", True),
        ("hour", [22, 23, 0, 1] * 5, 12, "between 22:00 and 01:59 UTC", False),
        ("hour", [*range(24)], 3, "at any hour", True),
        ("hour", [*range(12, 24)], 12, "not before 12:00 UTC", True),
        ("hour", [0, 1, 2] * 3, None, "before 03:00 UTC", False),
        ("hour", [9] * 5, 9, "between 09:00 and 09:59 UTC", True),
        ("weekday", [0, 1, 2, 3, 4] * 5, 6, "Monday to Friday (UTC)", False),
        ("weekday", [4, 5, 6, 0] * 5, 5, "Friday to Monday (UTC)", True),
        ("weekday", [*range(7)], 5, "on any day", True),
        ("weekday", [5, 6] * 5, 1, "on Saturday or Sunday (UTC)", False),
    ],
)
def test_normal_hours_and_weekdays_read_as_people_say_them(function, earlier, now, words, is_usual):
    node = Call(INTEGER, function, (ThisField(TIME, "paid_at"),))
    story = Story(definitions(), "payment", {}, PastDecision({}, {}, {}, 0), lambda _: (), tuple, "")
    found = story._range(node, now, earlier)

    assert (found.words, found.is_usual) == (words, is_usual)


@pytest.mark.parametrize(
    ("now", "words"), [(True, "Monday to Friday (UTC) (4 of 5)"), (False, "Monday to Friday (UTC) (4 of 5)")]
)
def test_a_truth_about_the_weekday_says_the_usual_days(now, words):
    weekend = Compare(BOOLEAN, ">=", Call(INTEGER, "weekday", (ThisField(TIME, "paid_at"),)), Literal(INTEGER, 5))
    story = Story(definitions(), "payment", {}, PastDecision({}, {}, {}, 0), lambda _: (), tuple, "")

    assert story._range(weekend, now, [False] * 4 + [True]).words == words


def test_the_ends_of_what_is_normal_leave_out_a_twentieth_on_either_side(bank):
    in_force(bank)
    amounts = [*range(1, 101), 50, 200]
    usual = [
        {"id": f"u{n}", "at": f"2026-03-02T{n // 60:02d}:{n % 60:02d}:00Z", "card": "own", "amount": f"{amount}.00"}
        for n, amount in enumerate(amounts)
    ]
    app.open(bank).decide(usual, as_type="payment")

    assert amount_text(bank, "u100") == "amount: 50.00 EUR, normally between 5.00 and 96.00 EUR for this card"
    # The last 100 of 101 count: the first, 1.00, is left out.
    assert amount_text(bank, "u101") == "amount: 200.00 EUR, normally up to 96.00 EUR for this card"


def test_case_card_and_chart_have_one_typical_range(bank):
    """Of 70 decisions: more than a page of a card shows, and older ones than the 30 days of the chart."""
    in_force(bank)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    paid = [(start + timedelta(days=n), f"{n * 7 % 31 + n}.00") for n in range(70)]
    paid.append((paid[-1][0] + timedelta(hours=1), "300.00"))
    rows = [
        {"id": f"u{n}", "at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "card": "own", "amount": amount}
        for n, (at, amount) in enumerate(paid)
    ]
    project = app.open(bank)
    project.decide(rows, as_type="payment")
    found = project.explain("u70")
    with project.log.reading() as log:
        look = EntityLook(log, project.definitions)
        newest = look.timeline("card", "own").events
        earlier = look.earlier("card", "own", newest[0].record.seq)
    windows = windows_of(newest, [decision.shown for decision in earlier])
    assert windows is not None
    held = {reason.code: reason.held[1:] for reason in found.reasons if reason.held is not None}
    cards = {window.feature: (window.low, window.high) for window in windows.charts}

    assert cards["card.spent_1d"] == tuple(end / 100 for end in held["card.spent_1d"])
    assert cards["card.payments_1h"] == held["card.payments_1h"]
    assert found.amounts.typical == tuple(end / 100 for end in held["payment.amount"])
    assert windows.earlier == found.amounts.typical_of == len(paid) - 1


@pytest.fixture(name="at_an_odd_hour", scope="module")
def _at_an_odd_hour(tmp_path_factory: pytest.TempPathFactory) -> ModelReason:
    """The reason of a payment at 03:30 on a card that pays from 10:00 on, by a model that reads the hour alone."""
    bank = tmp_path_factory.mktemp("hours") / "small"
    write_files(bank, {**FILES, "policy.yaml": POLICY_TEXT, "features.yaml": FEATURES})
    train(Registry(bank / "models"), "m-1", ("hour(payment.at)",))
    in_force(bank)
    rows = [
        {"id": f"u{n}", "at": f"2026-03-{2 + n // 12:02d}T{10 + n % 12:02d}:30:00Z", "card": "own", "amount": "20.00"}
        for n in range(24)
    ]
    odd = {"id": "odd", "at": "2026-03-07T03:30:00Z", "card": "own", "amount": "20.00"}
    app.open(bank).decide([*rows, odd], as_type="payment")
    (reason,) = [reason for reason in app.open(bank).explain("odd").reasons if reason.hours is not None]
    return reason


@pytest.mark.parametrize(
    ("zone", "text", "normal"),
    [
        ("", "At 03:30 UTC", "not before 10:00 UTC for this card"),
        ("Europe/Berlin", "At 04:30", "not before 11:00 for this card"),
        ("Asia/Tokyo", "At 12:30", "between 19:00 and 06:59 for this card"),
        ("America/New_York", "At 22:30", "before 17:00 for this card"),
        ("Asia/Kolkata", "At 09:00", "between 15:30 and 03:29 for this card"),
        ("America/St_Johns", "At 00:00", "between 06:30 and 18:29 for this card"),
        ("Australia/Eucla", "At 12:15", "between 18:45 and 06:44 for this card"),
    ],
)
def test_a_page_shows_the_hours_of_a_reason_in_the_zone_of_its_reader(at_an_odd_hour, zone, text, normal):
    shown = [in_zone(str(escape(part)), zone) for part in reason_texts(at_an_odd_hour)]

    assert [re.sub(r"<[^>]+>", "", part) for part in shown] == [text, normal]
    assert at_an_odd_hour.text == "at 03:30 UTC, normally not before 10:00 UTC for this card", "programs have it in UTC"


def test_a_card_with_too_little_history_is_held_against_all(bank):
    in_force(bank)
    app.open(bank).decide(
        [{"id": "new", "at": "2026-03-03T03:00:00Z", "card": "new", "amount": "900.00"}], as_type="payment"
    )

    text = amount_text(bank, "new")
    assert text.startswith("amount: 900.00 EUR, normally up to ")
    assert text.endswith(" EUR for every card")


def test_nothing_is_normal_where_nothing_was_before(bank):
    app.open(bank).models.promote("m-1")
    decide(bank, 1)

    assert amount_text(bank, "p1") == "amount: 37.00 EUR"


# ---- what would have to change


def test_each_change_is_the_nearest_amount_that_gives_the_outcome(bank):
    app.open(bank).models.promote("m-1")
    definitions = app.open(bank).definitions
    champion = definitions.scoring_of("payment").champion
    assert isinstance(champion.model, Explainable)
    draws = np.random.default_rng(3)
    told = 0
    for _ in range(15):
        now, count, hour, spent = (int(integer) for integer in draws.integers(0, [40_000, 9, 24, 90_000]))
        at_ms = hour * HOUR_MS
        features = {"card.payments_1h": count, "card.spent_1d": spent}
        seen = PastDecision({"amount": now, "at": at_ms, "card": "c", "id": "p"}, features, {}, at_ms)
        columns = [np.arange(GRID) / 100, *(np.full(GRID, item) for item in (count, hour, 4.0, spent / 100))]
        scores = champion.model.scores(columns)
        # Thresholds among the scores of neighbouring stretches, so that those are told apart.
        ends = np.flatnonzero(np.diff(scores))
        first = max(int(np.searchsorted(ends, now)) - draws.integers(1, 5), 0)
        around = np.unique(scores[ends[first : first + 8]])
        review_at, decline_at = np.sort(draws.choice(around, 2, replace=False)).tolist()
        policy = Policy(review_at=review_at, decline_at=decline_at)
        by_amount = outcomes_by_amount(scores, policy)
        tried = replace(definitions, policies={"payment": policy})
        effective = frozenset(["large"] if now > 10_000 else [])
        asked = Changes(tried, "payment", champion.model, champion.inputs, seen, effective)
        changes = [item for item in asked.nearest(OUTCOMES[by_amount[now]]) if item.code == "payment.amount"]

        assert {(change.outcome, change.value > now): (change.value, change.until) for change in changes} == nearest(
            by_amount, now
        )
        told += len(changes)
    assert told > 20


def nearest(by_amount, now):
    """For each other outcome, below and above: the nearest amount, and the last before a gap; by looking at all."""
    found = {}
    for other in {*np.unique(by_amount).tolist()} - {int(by_amount[now])}:
        places = np.flatnonzero(by_amount == other)
        for is_above, side in ((False, places[places < now][::-1]), (True, places[places > now])):
            if len(side):
                cent = int(side[0])
                gaps = np.flatnonzero((by_amount[cent:] if is_above else by_amount[cent::-1]) != other)
                until = None if not len(gaps) else cent + (1 if is_above else -1) * (int(gaps[0]) - 1)
                found[OUTCOMES[other], is_above] = (cent, until)
    return found


@pytest.mark.parametrize(
    ("feature", "now", "to", "shown"),
    [
        ("hour(this.at)", 3, (10, None), ("not before 10:00 UTC", "03:00 UTC")),
        ("weekday(this.at)", 6, (5, 5), ("on Saturday (UTC)", "Sunday (UTC)")),
        ("hour(this.at, 'Europe/Berlin')", 3, (10, None), ("not before 10:00 Berlin time", "03:00 Berlin time")),
    ],
)
def test_a_change_and_a_chart_of_windows_say_the_zone_of_hours_and_weekdays(feature, now, to, shown):
    known = definitions({"features.yaml": f"card:\n  paid: {feature}\n"})
    node = FeatureValue(INTEGER, "card.paid")
    story = Story(known, "payment", {}, PastDecision({}, {}, {}, 0), lambda _: (), tuple, "")
    change = story._change(Counterfactual("card.paid", node, to[0], now, to[1], "approve", 0.5))

    assert change.text == f"card.paid {shown[0]} instead of {shown[1]} would give approve"
    assert FeatureTexts(known).value("card.paid", now) == shown[1]


def test_a_change_says_what_it_takes_in_words(bank):
    decision = next(item for item in in_force(bank) if item.outcome == "review")
    part = explained(bank, decision.id)["explanation"]["model"]
    change = part["changes"][0]
    unit = " EUR" if change["code"] == "payment.amount" else ""

    assert f" instead of {change['now']}{unit} would give {change['outcome']}" in change["text"]
    assert change["text"].startswith(f"{change['code']} ")
    assert "other values of the event may depend on it" in part["note"]


def test_a_count_is_never_said_to_fall_below_none(bank):
    for decision in in_force(bank):
        for change in explained(bank, decision.id)["explanation"]["model"]["changes"]:
            assert change["code"] != "card.payments_1h" or change["value"] >= 0


# ---- the policy, and what is not there


def test_the_policys_part_says_what_rules_and_score_come_to(bank):
    decision = next(item for item in decide_in_force(bank) if item.rules)
    policy = explained(bank, decision.id)["explanation"]["model"]["policy"]

    assert (policy["review_at"], policy["decline_at"], policy["by_rules"]) == (0.5, 0.95, "review")
    assert policy["by_score"] == outcome([], POLICY, decision.score, has_model=True)
    assert policy["text"].endswith(f"Together: {decision.outcome}.")


def decide_in_force(bank):
    in_force(bank)
    return decide(bank, 12, first=100)


def test_a_decision_without_a_score_is_explained_as_ever(bank):
    in_force(bank)
    found = explained(bank, "p1")

    assert list(found["explanation"]) == ["features", "rules"]
    assert found["reasons"] == []


def test_each_decision_is_explained_by_the_model_that_scored_it(bank):
    decision = in_force(bank)[-1]
    before = explained(bank, decision.id)
    train(Registry(bank / "models"), "m-2", INPUTS, seed=2)
    app.open(bank).models.promote("m-2")

    assert explained(bank, decision.id) == before
    assert before["explanation"]["model"]["model"] == "m-1"


@pytest.mark.parametrize("harm", [shutil.rmtree, lambda folder: (folder / "model.json").write_bytes(b"{}")])
def test_without_its_model_a_decision_is_explained_as_far_as_it_can_be(bank, harm):
    decision = next(item for item in decide_in_force(bank) if item.rules)
    harm(bank / "models" / "m-1")
    found = explained(bank, decision.id)
    part = found["explanation"]["model"]

    assert [reason["kind"] for reason in found["reasons"]] == ["rule"]
    assert "models/m-1" in part["problem"]
    assert (part["score"], part["margin"], part["base"]) == (decision.score, None, None)
    assert found["explanation"]["features"]
    assert part["policy"]["by_rules"] == "review"


def test_the_command_has_a_section_for_rules_model_and_policy(bank, capsys):
    decisions = decide_in_force(bank)
    decision, calm = (next(item for item in decisions if bool(item.rules) is has_hits) for has_hits in (True, False))
    capsys.readouterr()

    assert run(["-C", str(bank), "explain", decision.id]) == 0
    text = capsys.readouterr().out
    places = [
        text.index(head) for head in ("Reasons of rules", "Reasons of the model m-1", "Policy", "Features", "Rules")
    ]
    assert places == sorted(places)
    assert "what every event begins with" in text
    assert "No rule hit" not in text

    assert run(["-C", str(bank), "explain", calm.id]) == 0
    assert "Reasons of rules\n  No rule hit.\n\nReasons of the model m-1" in capsys.readouterr().out


def test_the_command_says_why_there_is_no_model(bank, capsys):
    decision = in_force(bank)[-1]
    shutil.rmtree(bank / "models" / "m-1")
    capsys.readouterr()

    assert run(["-C", str(bank), "explain", decision.id]) == 0
    assert "models/m-1 of an active model is missing" in capsys.readouterr().out.replace("\n    ", " ")


# ---- cuts


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8),
    st.integers(-100_000_000, 100_000_000),
    st.sampled_from([money(2), INTEGER, DURATION, number(4)]),
    st.booleans(),
)
def test_steps_are_the_ends_of_what_a_cut_parts(cuts, now, type_, is_single):
    units = units_of(type_)
    found = steps(np.unique(np.array(cuts)), now, type_, is_single=is_single)

    def goes_left(value, cut):
        whole = value / units
        return (float(np.float32(whole)) if is_single else whole) <= cut

    for cut in cuts:
        edge = next((item for item in sorted([*found.below, *found.above]) if not goes_left(item, cut)), None)
        sides = [item for item in found.below if goes_left(item, cut)]
        if not goes_left(now, cut):
            assert sides
            assert not goes_left(max(sides) + 1, cut)
        else:
            assert edge is not None
            assert goes_left(edge - 1, cut)
    assert all(item < now for item in found.below)
    assert all(item > now for item in found.above)


def test_a_duration_is_shown_as_people_write_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = learnable.make_project(
        tmp_path / "waits", features="card: { since_last: payment.at - last(payment.at) over 30d }\n", model=""
    )
    times = ("2026-03-01T00:00:00Z", "2026-03-01T03:25:45Z")
    payments = [
        {"id": f"p-{at}", "at": time, "card": "c", "amount": "1.00", "channel": "web"} for at, time in enumerate(times)
    ]
    app.open(folder).decide(payments, as_type="payment")

    assert run(["-C", str(folder), "explain", "payment/p-1"]) == 0
    assert "card.since_last  3h25m45s" in capsys.readouterr().out
