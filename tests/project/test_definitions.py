"""A project's versions, and what its lists keep of hashed values."""

from __future__ import annotations

import pytest

from shroff.events.event import read_time
from shroff.features.naive import Naive
from shroff.log.ruletests import run_rule_tests
from shroff.project.definitions import load_definitions
from shroff.project.parse_cache import ReadOnce
from shroff.rules.definitions import expiring
from tests.support.projects import FILES, definitions

HASHED = {
    "events.yaml": FILES["events.yaml"].replace("card: text?", "card: text hashed"),
    "lists/blocked.csv": "value,note,added_by,expires_at\n4111111111111111,seen by 4111111111111111,ann,\n",
}


def mask(value: str) -> str:
    return f"hashed:{'0' * 32}:{value[-4:]}"


def test_a_test_inside_a_rule_makes_no_version():
    event = "{ payment: { at: 2026-03-01T10:00:00Z, amount: 101 } }"
    tested = FILES["rules/large.yaml"] + f"  tests:\n    - {{ name: t, events: [ {event} ], hits: [true] }}\n"

    assert definitions({"rules/large.yaml": tested}).versions == definitions().versions


@pytest.mark.parametrize("key", ["points", "[card, points]", "text(refund.points)"])
def test_keys_of_an_entity_are_of_the_same_types_at_each_event(key):
    refund = "refund:\n  id: id\n  time: at\n  fields: { id: text, at: time, card: text, points: integer }\n"
    events = FILES["events.yaml"].replace("card: { payment: card }", f'card: {{ payment: card, refund: "{key}" }}')
    events = events.replace('"[card, points]"', "[card, points]")
    found = [
        (problem.line, problem.path) for problem in load_definitions({**FILES, "events.yaml": refund + events}).problems
    ]

    assert found == ([] if key.startswith("text") else [(12, "entities.card")])


def test_a_matching_field_has_the_type_of_the_key():
    files = {
        "events.yaml": FILES["events.yaml"].replace("card: text?", "card: text?, points: integer"),
        "features.yaml": "card:\n  seen: count(payment) over 1h matching payment.points\n",
    }

    (problem,) = load_definitions({**FILES, **files}).problems
    assert "payment.points is integer and the key of card text, so they never match" in problem.message


def test_a_feature_that_is_named_tests_makes_one():
    hour, day = (f"card:\n  tests: count(payment) over {length}\n" for length in ("1h", "1d"))

    assert definitions({"features.yaml": hour}).versions != definitions({"features.yaml": day}).versions


@pytest.mark.parametrize(
    "feature",
    ["payment.card in lists.blocked", "last(payment.card) over 1d in lists.blocked", "card.newest in lists.blocked"],
)
def test_a_list_that_is_asked_about_a_hashed_field_is_kept_hashed(feature):
    declared = f"card:\n  newest: last(payment.card) over 1d\n  blocked: {feature}\n"
    loaded = load_definitions({**FILES, **HASHED, "features.yaml": declared}, mask).or_raise()

    assert list(loaded.reference.lists["blocked"]) == [mask("4111111111111111")]
    assert "4111111111111111" not in loaded.files["lists/blocked.csv"]


def test_a_list_about_clear_fields_stays_as_it_is():
    files = {**FILES, "lists/shops.csv": "value,note,added_by,expires_at\nm-1,,,\n"}

    assert list(load_definitions(files, mask).or_raise().reference.lists["shops"]) == ["m-1"]


@pytest.mark.parametrize("told", ["analysts", "customer", "big_spender"])
def test_a_rule_tells_analysts_the_customer_or_a_notice(told):
    rule = FILES["rules/large.yaml"].replace("notify: analysts", f"notify: {told}")
    loaded = load_definitions({**FILES, "rules/large.yaml": rule, "notices/big_spender.yaml": "text: Hello\n"})

    again = load_definitions(loaded.or_raise().files).or_raise()
    assert again.rules[0].notify == told
    assert again.files == loaded.or_raise().files


@pytest.mark.parametrize(
    "told, hint",
    [
        ("analyst", "Did you mean analysts?"),
        ("big_spenders", "Did you mean big_spender?"),
        ("bob", "Notify analysts, customer, big_spender, or add notices/bob.yaml."),
    ],
)
def test_a_rule_that_tells_nobody_known_is_a_mistake(told, hint):
    rule = FILES["rules/large.yaml"].replace("notify: analysts", f"notify: {told}")
    files = {**FILES, "rules/large.yaml": rule, "notices/big_spender.yaml": "text: Hello\n"}
    (problem,) = load_definitions(files).problems

    assert (problem.line, problem.hint) == (8, hint)
    assert problem.message == f"{told!r} is nobody to tell and no notice."


def test_whom_a_rule_may_tell_is_named_once_though_a_notice_has_that_name():
    rule = FILES["rules/large.yaml"].replace("notify: analysts", "notify: bob")
    files = {**FILES, "rules/large.yaml": rule, "notices/customer.yaml": "text: Hello\n"}

    assert "Notify analysts, customer, or add notices/bob.yaml." in [
        problem.hint for problem in load_definitions(files).problems
    ]


def test_another_notice_makes_no_rule_new_and_one_that_a_rule_needs_is_missed():
    """Both with what was read before, as in a service that reads the project's files and those in force by turns."""
    rule = FILES["rules/large.yaml"].replace("notify: analysts", "notify: big")
    files, read = {**FILES, "rules/large.yaml": rule, "notices/big.yaml": "text: Hello\n"}, ReadOnce()
    first = load_definitions(files, read=read).or_raise()
    more = load_definitions({**files, "notices/other.yaml": "text: Good day\n"}, read=read).or_raise()
    without = load_definitions({**FILES, "rules/large.yaml": rule}, read=read)

    assert [rule is other for rule, other in zip(first.rules, more.rules, strict=True)] == [True]
    assert [problem.message for problem in without.problems] == ["'big' is nobody to tell and no notice."]


def test_what_a_notice_says_is_no_part_of_what_is_in_force():
    rule = FILES["rules/large.yaml"].replace("notify: analysts", "notify: big")
    first, second = (
        load_definitions({**FILES, "rules/large.yaml": rule, "notices/big.yaml": text}).or_raise()
        for text in ("text: Hello\n", "text: Good day\n")
    )

    assert (first.files, first.versions) == (second.files, second.versions)


def test_the_log_keeps_the_name_control_for_itself():
    events = (
        FILES["events.yaml"]
        .replace("payment:\n  id", "control:\n  id")
        .replace("{ payment: card }", "{ control: card }")
    )
    problems = load_definitions({"shroff.yaml": FILES["shroff.yaml"], "events.yaml": events}).problems

    assert any("'control' is a word of the language" in problem.message for problem in problems)


def test_how_far_ahead_of_its_arrival_an_event_may_be_is_read_without_a_word():
    loaded = load_definitions({**FILES, "shroff.yaml": FILES["shroff.yaml"] + "ahead: 1h\n"})

    assert loaded.warnings == []
    assert loaded.or_raise().settings.ahead_ms == 3_600_000


@pytest.mark.parametrize(
    "when, hits, is_warned",
    [
        ("count(label where label.verdict == 'fraud') >= 2", "[false, false]", False),
        ("count(label where label.verdict == 'fraud') of each source >= 2", "[false, true]", False),
        ("count(label where label.source == 'chargeback') > 0", "[false, false]", True),
        ("count(label where label.source == 'chargeback') of each source > 0", "[false, true]", False),
    ],
)
def test_a_rule_sees_labels_that_change_the_verdict_and_of_each_source_all_of_them(when, hits, is_warned):
    """One finding of two sources changes the verdict once; `at` stands for the time of a label too."""
    rule = f"""
- id: twice
  on: payment
  by: card
  when: {when}
  effect: review
  tests:
    - name: two sources, one finding
      events:
        - payment: {{ id: p1, at: 2026-03-01T10:00:00Z, card: c, amount: 1 }}
        - label: {{ event: payment/p1, verdict: fraud, source: analyst, at: 2026-03-02T10:00:00Z }}
        - label: {{ event: payment/p1, verdict: fraud, source: chargeback, at: 2026-03-03T10:00:00Z }}
        - payment: {{ id: p2, at: 2026-03-04T10:00:00Z, card: c, amount: 1 }}
      hits: {hits}
"""
    loaded = load_definitions({**FILES, "rules/large.yaml": rule})

    assert run_rule_tests(loaded.or_raise(), None, ReadOnce()) == (1, [])
    assert ["ignores labels" in warning.message for warning in loaded.warnings] == [True] * is_warned


def test_the_tests_of_a_rule_compute_what_that_rule_reads_and_no_other(monkeypatch):
    rules = """
- { id: other, on: payment, by: card, when: card.spent_1d > 5, effect: note }
- id: many
  on: payment
  by: card
  when: card.payments_1h >= 1
  effect: review
  tests:
    - { name: one, events: [{ payment: { id: p1, at: 2026-03-01T10:00:00Z, card: c, amount: 1 } }], hits: [false] }
"""
    computed, compute = list[str](), Naive.compute
    monkeypatch.setattr(Naive, "compute", lambda self, of, at: (computed.append(of.name), compute(self, of, at))[1])

    assert run_rule_tests(definitions({"rules/large.yaml": rules}), None, ReadOnce()) == (1, [])
    assert computed == ["card.payments_1h", "rule many"]


def test_mistakes_in_the_tests_of_a_rule_are_named_beside_its_others():
    rule = """
- id: large
  on: paymant
  by: card
  when: this.amount > 100
  effect: review
  tests:
    - name: one
      events:
        - payment: { amunt: 5.00 }
      hits: [maybe]
"""
    found = load_definitions({**FILES, "rules/large.yaml": rule}).problems

    assert [item.message for item in found] == [
        "'paymant' is not an event type.",
        "payment has no field 'amunt'.",
        "a hit is true or false, not 'maybe'.",
    ]


@pytest.mark.parametrize("key", ["lateness", "ahead"])
def test_a_duration_that_is_none_is_named_once(key):
    (problem,) = load_definitions({**FILES, "shroff.yaml": f"{FILES['shroff.yaml']}{key}: soon\n"}).problems

    assert problem.path == key
    assert problem.message.startswith("'soon' is not a duration; write 500ms")


def test_a_failing_rule_test_names_the_event_and_what_the_rule_read_there():
    rule = """
- id: large
  on: payment
  by: card
  when: this.amount > 100 and card.payments_1h + count(payment) over 1h >= 1
  effect: review
  tests:
    - name: one
      events:
        - payment: { at: 2026-03-01T10:00:00Z, card: c, amount: 5 }
        - payment: { at: 2026-03-01T10:01:00Z, card: c, amount: 100 }
      hits: [false, true]
"""
    tests, (problem,) = run_rule_tests(definitions({"rules/large.yaml": rule}), None, ReadOnce())

    assert (tests, problem.file, problem.line, problem.column) == (1, "rules/large.yaml", 11, 11)
    assert problem.message == (
        "test 'one' of rule large fails: expected hits [false, true], found [false, false]. "
        "Event 2: this.amount = 100.00, card.payments_1h = 1, count(payment) over 1h = 1."
    )


@pytest.mark.parametrize(
    "when, exact",
    [
        (
            "this.amount > 10 * mean(payment.amount) over 7d since flag",
            "this.amount * count(payment) over 7d since flag > 10 * sum(payment.amount) over 7d since flag",
        ),
        (
            "this.amount / mean(payment.amount where payment.amount > 5) over 7d >= 6",
            (
                "this.amount * count(payment where payment.amount > 5) over 7d"
                " >= 6 * sum(payment.amount where payment.amount > 5) over 7d"
            ),
        ),
        ("card.mean * 3 < this.amount", "3 * sum(payment.amount) over 7d < this.amount * count(payment) over 7d"),
        ("card.to_mean > 6", "this.amount * count(payment) over 7d > 6 * sum(payment.amount) over 7d"),
        (
            "this.amount > 3 * (sum(payment.amount) over 7d / count(payment) over 7d)",
            "this.amount * count(payment) over 7d > 3 * sum(payment.amount) over 7d",
        ),
        ("this.amount > 3 * card.quotient", "this.amount * count(payment) over 7d > 3 * card.spent"),
        ("this.amount > 3 * std(payment.amount) over 7d", "a std has no exact form"),
        ("this.amount > 4 * mean(payment.amount) over 7d", ""),  # a power of two multiplies floats exactly
        ("this.amount > mean(payment.amount) over 7d", ""),
        ("this.amount * count(payment) over 7d > 10 * sum(payment.amount) over 7d", ""),
    ],
)
def test_money_beside_a_multiple_of_a_mean_is_warned_of_with_the_exact_form(when: str, exact: str):
    features = "card:\n  mean: mean(payment.amount) over 7d\n  to_mean: this.amount / card.mean\n"
    features += "  spent: sum(payment.amount) over 7d\n  quotient: card.spent / count(payment) over 7d\n"
    rule = "- {{ id: far, on: payment, by: card, effect: review, when: {} }}\n"
    files = {"shroff.yaml": FILES["shroff.yaml"], "events.yaml": FILES["events.yaml"], "features.yaml": features}
    warnings = load_definitions({**files, "rules/r.yaml": rule.format(when)}).warnings

    assert [exact in f"{warning.message} {warning.hint}" for warning in warnings] == [True] * bool(exact)
    if exact and "std" not in exact:  # it means the same, and is not warned of
        mended = load_definitions({**files, "rules/r.yaml": rule.format(exact)})
        assert (mended.problems, mended.warnings) == ([], [])


@pytest.mark.parametrize("broken", ["mean(payment.amuont) over 7d", "mean(payment.amount) over 7x", "card.gone + 1"])
def test_one_mistake_in_a_feature_is_one_error_whatever_reads_it(broken: str):
    features = f"""card:
  a_reader: round(card.base * 2, 1)
  base: {broken}
  chain: card.b_reader + 1
  b_reader: this.amount / card.base
"""
    rule = """- id: reads_it
  on: payment
  by: card
  when: card.base > 3 and card.chain > 2 and sum(card.b_reader of payment) over 7d > 1
  reason: "{round(card.base, 1)} and {card.chain}"
  effect: review
"""
    files = {"shroff.yaml": FILES["shroff.yaml"], "events.yaml": FILES["events.yaml"], "features.yaml": features}
    problems = load_definitions({**files, "rules/r.yaml": rule}).problems

    assert [(problem.file, problem.line) for problem in problems] == [("features.yaml", 3)]


def test_a_field_whose_type_cannot_be_read_is_one_error_whatever_reads_it_and_others_stay():
    events = FILES["events.yaml"].replace("card: text", "card: string", 1)
    rule = "- { id: r, on: payment, by: card, when: this.card == 'x' and this.amuont > 1, effect: review }\n"
    other = "- { id: o, on: payment, by: card, when: this.amuont > 1, effect: review }\n"
    assert events != FILES["events.yaml"]
    problems = load_definitions({**FILES, "events.yaml": events, "rules/r.yaml": rule + other}).problems

    assert [(problem.file, problem.hint or problem.message) for problem in problems] == [
        ("events.yaml", "field card: 'string' is not a type. Did you mean text?"),
        ("rules/r.yaml", "Did you mean amount?"),
    ]


def test_rules_that_expire_soon_or_have_are_named():
    rule = "- {{ id: {}, on: payment, by: card, effect: review, when: this.amount > 1, expires: {} }}\n"
    days = {"gone": "2026-01-31", "soon": "2026-03-02", "later": "2026-03-05"}
    text = "".join(rule.format(id_, day) for id_, day in days.items())
    found = load_definitions({**FILES, "rules/r.yaml": text}).or_raise()

    assert expiring(found.rules, read_time("2026-02-01T00:00:00Z")) == [
        "rule gone expired on 2026-01-31",
        "rule soon expires after 2026-03-02",
    ]
