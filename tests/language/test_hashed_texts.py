"""Hashed texts in expressions: whatever is asked of one is found, or refused with what works instead."""

from __future__ import annotations

import json
from itertools import product

import msgspec
import pytest

from shroff.errors import DefinitionError
from shroff.services import project as app

CARD = "4111111111111111"
SETTINGS = "shroff: 1\nname: bank\nmoney: EUR\n"
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text hashed, other: text hashed, clear: text, end: text }
entities:
  card: { payment: card }
  clear: { payment: clear }
tables:
  cards: { card: text, country: text }
"""
FEATURES = """
card:
  last_card: last(payment.card)
  last_clear: last(payment.clear)
"""
# Each is true of a second payment like the first one, where no text is hashed.
FIELDS = ("this.card", "this.other", "this.clear", "card.last_card", "card.last_clear", "text(this.card)")
ASKED = (
    *("X == Y", "not (X != Y)", f"X == '{CARD}'", f"X in ['{CARD}', 'b']", "X in [Y, 'b']", "X in lists.cards"),
    *("left(X, 6) == '411111'", "length(X) == 16", "starts_with(X, '4111')", "contains(X, '11111')", "lower(X) == X"),
    *("ends_with(X, '1111')", "ends_with(X, this.end)", f"ends_with(X, '{CARD[-6:]}')", "upper(X) == upper(Y)"),
    *("part(X, '5', 1) == X", "replace(X, 'a', 'b') == X", "join(X, '-', X) == join(Y, '-', Y)", "X <= Y"),
    *(f"join(X, '-') == '{CARD}-'", "join(X, '-') in lists.cards", "X not in ['b']", "X >= '4'", "X in '4' .. '5'"),
    *("tables.cards[X].country == 'RU'", f"(X else 'none') == '{CARD}'", "(X else Y) == Y", "(X when true) == Y"),
    *(
        f"text(X) == '{CARD}'",
        "integer(X) > 1",
        "domain(join('a@', X)) == Y",
        "X is not missing",
        "subnet(X, 8) is missing",
    ),
    *("count(payment where payment.card == Y) over 1h > 0", "count(payment where payment.clear == Y) over 1h > 0"),
    *(f"count(payment where payment.card == '{CARD}') over 1h > 0", "last(payment.card) over 1h == X"),
    *("first(payment.clear) over 1h == X", "distinct(payment.card where payment.other == X) over 1h == 1"),
    *("share(payment where left(payment.card, 4) == '4111') over 1h > 0.5",),
)


HASHED = {"this.card", "this.other", "card.last_card", "text(this.card)"}


@pytest.fixture
def bank(tmp_path):
    folder = tmp_path / "bank"
    for name in ("rules", "lists", "tables"):
        (folder / name).mkdir(parents=True)
    for name, text in (
        *(("shroff.yaml", SETTINGS), ("events.yaml", EVENTS), ("features.yaml", FEATURES)),
        *(("lists/cards.csv", f"value\n{CARD}\n{CARD}-\n"), ("tables/cards.csv", f"card,country\n{CARD},RU\n")),
    ):
        (folder / name).write_text(text)
    return folder


def bank_events():
    fields = {"card": CARD, "other": CARD, "clear": CARD, "end": CARD[-4:]}
    return [{"id": str(at), "at": f"2026-03-01T10:0{at}:00Z", **fields} for at in range(2)]


def forms(fields):
    for form in ASKED:
        for left, right in product(fields, fields) if "X" in form and "Y" in form else zip(fields, fields, strict=True):
            yield (
                form.replace("X", left).replace("Y", right),
                {left if "X" in form else right, right if "Y" in form else left},
            )


def rules(bank, asked):
    found = [
        {"id": f"r{at}", "on": "payment", "by": "card", "when": when, "effect": "decline"}
        for at, when in enumerate(asked)
    ]
    (bank / "rules" / "r.yaml").write_text(json.dumps(found, indent=1))
    return app.open_exactly(bank)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [[field for field in FIELDS if field not in HASHED], FIELDS], ids=["clear", "hashed"]
)
def test_what_is_asked_of_a_text_is_found_or_refused_whether_it_is_hashed_or_not(bank, fields):
    asked = [when for when, of in forms(fields) if fields != FIELDS or of & HASHED]
    refused = {}
    try:
        rules(bank, asked).definitions  # noqa: B018 - it is read
    except DefinitionError as error:
        refused = {int(problem.path.partition("]")[0][1:]): str(problem) for problem in error.problems}
    allowed = [when for at, when in enumerate(asked) if at not in refused]
    project = rules(bank, allowed)
    answers = project.decide(bank_events(), as_type="payment")
    hits = {*json.loads(msgspec.json.encode(answers[-1]))["rules"]}

    assert [when for at, when in enumerate(allowed) if f"r{at}" not in hits] == []
    refused = {at: words for at, words in refused.items() if "write card.last_" not in words}  # of payment
    assert [words for words in refused.values() if "hashed" not in words or "in lists.NAME" not in words] == []
    assert (len(refused) > 100, len(allowed) > 30) == (fields == FIELDS, True)


@pytest.mark.parametrize(
    ("events", "rule", "words"),
    [
        ("  card: { payment: card, login: card }\n", "", "entities.card: card: the key is hashed for some event types"),
        ('  bins: { payment: "left(payment.card, 6)" }\n', "", "left cannot look into a hashed text"),
        (
            "  user: { login: card }\n",
            "count(payment) over 1h matching payment.card > 1",
            "is hashed, so they never match",
        ),
        ("", "this.card in lists.cards and this.clear in lists.cards", "Make a list for each"),
    ],
)
def test_keys_and_lists_are_of_hashed_texts_or_of_others(bank, events, rule, words):
    login = "login:\n  id: id\n  time: at\n  decide: true\n  fields: { id: text, at: time, card: text }\nentities:\n"
    text = EVENTS.replace("entities:\n", login + events)
    (bank / "events.yaml").write_text(
        text if "\n  card: { payment: card, login" not in text else text.replace("  card: { payment: card }\n", "")
    )
    on, by = ("login", "user") if "user:" in events else ("payment", "card")
    (bank / "rules" / "r.yaml").write_text(
        f"- {{ id: r, on: {on}, by: {by}, when: {json.dumps(rule)}, effect: decline }}\n" if rule else "[]\n"
    )
    with pytest.raises(DefinitionError) as found:
        app.open_exactly(bank).definitions  # noqa: B018 - it is read
    assert words in str(found.value)
