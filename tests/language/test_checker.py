"""Typing an expression: what is refused, where, and which right name it proposes."""

from __future__ import annotations

import pytest

from shroff.language.aggregates import AGGREGATES
from shroff.language.checker import check
from shroff.language.expression import (
    Aggregate,
    Arithmetic,
    Convert,
    InValues,
    Literal,
    Logic,
    Node,
    Not,
    aggregates,
    children,
    walk,
)
from shroff.language.functions import FUNCTIONS
from shroff.language.names import DeclaredNames, Scope, TableShape
from shroff.language.syntax import ExpressionError
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.runtime.values import replace

PAYMENT = {
    "amount": money(2),
    "card": TEXT,
    "channel": Type("choice", choices=("pos", "web")),
    "ok": BOOLEAN,
    "points": INTEGER,
    "weight": number(),
    "ratio": REAL,
    "paid_at": TIME,
    "wait": DURATION,
}
LOGIN = {"card": TEXT, "at": TIME, "amount": money(2), "points": TEXT}
NAMES = DeclaredNames(
    events={"payment": PAYMENT, "login": LOGIN, "label": {"verdict": TEXT, "source": TEXT}},
    entities={"card": frozenset(["payment"])},
    decided=frozenset(["payment"]),
    lists=frozenset(["blocked_cards"]),
    tables={"bins": TableShape(TEXT, {"country": TEXT}), "levels": TableShape(INTEGER, {"weight": number(2)})},
)
FEATURES = {"card.spent_24h": money(2), "card.payments_1h": INTEGER, "card.mean_30d": REAL}
RULE = Scope(
    NAMES,
    "rule velocity",
    this=("payment",),
    entity="card",
    feature=FEATURES.get,
    feature_names=lambda: sorted(FEATURES),
    reads_score=True,
    since_flag=True,
)
FEATURE = replace(RULE, what="feature card.x", reads_score=False, since_flag=False)
MAPPING = Scope(NAMES, "the mapping of amount", reads_row=True)


def refused(text: str, scope: Scope = RULE, wanted: Type | None = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        check(text, scope, wanted)
    return caught.value


def type_of(text: str, scope: Scope = RULE) -> Type:
    return check(text, scope).type


# ---- names


@pytest.mark.parametrize(
    ("text", "fault", "hint"),
    [
        ("this.amout > 5", "this.amout", "Did you mean amount?"),
        ("payment.chanel == 'web'", "payment.chanel", "Did you mean channel?"),
        ("card.payment_1h > 5", "card.payment_1h", "Did you mean card.payments_1h?"),
        ("paymnt.amount > 5", "paymnt.amount", "Did you mean payment.amount?"),
        ("thsi.amount > 5", "thsi.amount", "Did you mean this.amount?"),
        ("count(paymet) over 1h > 5", "paymet", "Did you mean payment?"),
        ("sum(payment.amuont) over 1h > 5", "payment.amuont", "Did you mean amount?"),
        ("payment.card in lists.blocked_card", "lists.blocked_card", "Did you mean blocked_cards?"),
        ("tables.bin[this.card].country == 'DE'", "tables.bin", "Did you mean bins?"),
        ("tables.bins[this.card].contry == 'DE'", "contry", "Did you mean country?"),
        ("lenght(this.card) > 5", "lenght", "Did you mean length?"),
        ("cuont(payment) over 1h > 5", "cuont", "Did you mean count?"),
        ("hour(this.paid_at, 'Europe/Berlim') > 5", "'Europe/Berlim'", "hour(time, zone)"),
        ("count(payment) over 1h matching payment.cart > 1", "payment.cart", "Did you mean card?"),
        ("scor > 0.5", "scor", "Did you mean score?"),
    ],
)
def test_a_name_that_is_not_there_is_shown_with_the_nearest_one(text, fault, hint):
    error = refused(text)

    assert text[error.start : error.end] == fault
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "scope", "words"),
    [
        ("row.Amount", RULE, "'row' is the line of a file"),
        ("this.amount", MAPPING, "no event 'this'"),
        ("card.spent_24h", MAPPING, "features cannot be read"),
        ("count(payment)", MAPPING, "aggregates stand in features and rules"),
        ("score > 0.5", FEATURE, "score is read by rules and the policy"),
        ("count(payment) since flag > 0", FEATURE, "'since flag' is for rules"),
        ("login.points == 'x'", RULE, "outside an aggregate, where the event is payment"),
        ("label.verdict == 'fraud'", RULE, "inside an aggregate only"),
        ("payment > 5", RULE, "payment is an event type"),
        ("this > 5", RULE, "name one of its fields"),
        ("row", MAPPING, "name a column"),
        ("lists.blocked_cards == 'x'", RULE, "ask 'x in lists.blocked_cards'"),
        ("card.spent_24h of payment", RULE, "'of' stands inside an aggregate"),
        ("sum(card.spent_24h) over 1h", RULE, "takes a field of an event type"),
        ("sum(payment.amount + card.spent_24h) over 1h", RULE, "write card.spent_24h of payment"),
        ("sum(payment.amount where count(payment) over 1h > 1) over 1h", RULE, "an aggregate stands inside another"),
        ("sum(payment.amount where login.points == 'x') over 1h", RULE, "over one event type"),
        ("sum(card.spent_24h of login) over 1h", RULE, "login"),
    ],
)
def test_a_name_is_refused_where_it_has_no_meaning(text, scope, words):
    assert words in str(refused(text, scope))


def test_a_field_of_several_types_is_refused_with_each():
    error = refused("this.points == 1", replace(RULE, this=("payment", "login")))

    assert "integer in payment, text in login" in error.message
    assert type_of("this.amount > 1", replace(RULE, this=("payment", "login"))) == BOOLEAN


# ---- operators


@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        ("payment.amount + payment.card", "payment.amount + payment.card", "'+' does not take money and text"),
        ("payment.amount + 5", "payment.amount + 5", "money('5.00')"),
        ("payment.amount * payment.amount", None, "'*' does not take money and money"),
        ("this.paid_at + this.paid_at", None, "time and time"),
        ("this.paid_at * 2", None, "time and integer"),
        ("this.wait + 5", None, "duration and integer"),
        ("this.wait * 0.5", None, "duration and number"),
        ("this.ok < true", None, "boolean and boolean"),
        ("this.card > 5", None, "text and integer"),
        ("this.paid_at == '2026-01-01'", None, "time and text"),
        ("-this.card", "-this.card", "'-' takes a number"),
        ("not this.points", "this.points", "'not' takes true or false"),
        ("this.ok and this.points", "this.points", "'and' takes true or false"),
        ("1 when this.points", "this.points", "'when' takes true or false"),
        ("this.amount else 0", None, "Both sides of 'else' have one type"),
        ("this.card else 0", None, "Both sides of 'else' have one type"),
        ("this.card in ['a', 5]", "5", "the list has integer, what is looked for is text"),
        ("this.points in 'a' .. 'b'", "'a'", "the range has text"),
        ("this.ok in true .. false", "true", "the range has boolean"),
        ("this.points in lists.blocked_cards", "this.points", "a list holds text"),
        ("tables.bins[5].country == 'DE'", "5", "the key of table bins is text"),
        ("tables.levels[this.weight].weight > 1", "this.weight", "the key of table levels is integer"),
        ("this.weight * 0.1234567 > 1", "this.weight * 0.1234567", "13 places; at most 12"),
        ("0.1234567890123", "0.1234567890123", "at most 12 places"),
        ("9" * 31, "9" * 31, "too large"),
        *((item, item, "too many digits") for item in ("9" * 700, f"0.{'9' * 700}", "1" + "_000" * 200)),
        ("abs(missing)", "abs(missing)", "always missing"),
    ],
)
def test_types_that_do_not_go_together_are_refused_with_their_place(text, fault, words):
    error = refused(text)

    assert words in str(error)
    assert text[error.start : error.end] == (fault or text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 + 2", INTEGER),
        ("1 + 0.5", number(1)),
        ("0.25 * 0.5", number(3)),
        ("this.amount + this.amount", money(2)),
        ("this.amount * 0.5", money(3)),
        ("2 * this.amount", money(2)),
        ("this.amount / this.amount", REAL),
        ("1 / 2", REAL),
        ("this.amount * this.ratio", REAL),
        ("this.amount else this.ratio", REAL),
        ("this.points else this.weight", number(6)),
        ("this.paid_at - this.paid_at", DURATION),
        ("this.paid_at - 1h", TIME),
        ("1h + this.paid_at", TIME),
        ("this.wait * 2", DURATION),
        ("this.wait / 1h", REAL),
        ("this.channel else 'pos'", TEXT),
        ("missing else 5", INTEGER),
        ("this.amount > 5", BOOLEAN),
        ("this.amount == this.ratio", BOOLEAN),
        ("this.card is missing", BOOLEAN),
        ("min(1, 0.5)", number(1)),
        ("round(this.weight, 2)", number(2)),
        ("round(this.amount, 4)", money(2)),
        ("mean(payment.amount) over 7d", REAL),
        ("sum(payment.amount * 0.5) over 7d", money(3)),
        ("max(payment.wait) over 7d", DURATION),
        ("count(payment)", INTEGER),
        ("distinct(payment.card) over 7d", INTEGER),
        ("last(payment.channel) over 7d", PAYMENT["channel"]),
    ],
)
def test_each_form_has_its_type(text, wanted):
    assert type_of(text) == wanted


def test_both_sides_are_brought_to_one_type_and_literals_at_once():
    node = check("this.weight > 5", RULE)

    assert node.left.type == node.right.type == number(6)
    assert node.right == Literal(number(6), 5_000_000)
    assert check("this.points + this.weight", RULE) == Arithmetic(
        number(6), "+", Convert(number(6), check("this.points", RULE)), check("this.weight", RULE)
    )


def test_what_is_written_differently_and_means_the_same_is_equal():
    same = ["this.points in 1 .. 5", "(this.points in 1..5)", "this.points>=1 and this.points<=5"]

    assert len({check(text, RULE) for text in same}) == 1


def test_not_in_is_the_negation_of_in():
    node = check("this.card not in ['a']", RULE)

    assert isinstance(node, Not)
    assert isinstance(node.operand, InValues)
    assert isinstance(check("this.points in 1 .. 2", RULE), Logic)


def test_an_expression_of_a_wanted_type_is_refused_with_another():
    assert "rule velocity must be boolean, this is an integer" in str(refused("1 + 1", RULE, BOOLEAN))
    assert check("missing", RULE, BOOLEAN).type.kind == "missing"


# ---- functions and aggregates


@pytest.mark.parametrize(
    ("text", "fault", "words"),
    [
        ("length()", "length()", "takes 1 argument, not 0. It is length(text)."),
        ("length(this.points)", "this.points", "takes text here, not integer"),
        ("left(this.card)", "left(this.card)", "takes 2 arguments"),
        ("round(this.weight, this.points)", "this.points", "a number of places, written out"),
        ("round(this.weight, 0.2)", "0.2", "a number of places, written out"),
        ("round(this.weight, 2ms)", "2ms", "a number of places, written out"),
        ("round(this.weight, 13)", "13", "0 to 12 places"),
        ("round(this.weight, -1)", "-1", "0 to 12 places"),
        ("hour(this.paid_at, this.points)", "this.points", "takes text here"),
        ("hour(this.paid_at, '../../etc/passwd')", "'../../etc/passwd'", "no time zone"),
        ("time(this.card, '%Y %Y')", "'%Y %Y'", "cannot read times by the format"),
        ("time(this.card, '%Q')", "'%Q'", "cannot read times by the format"),
        ("time(this.card, 5)", "5", "a format such as"),
        ("sqrt(this.card)", "this.card", "integer or number or money or real"),
        ("join()", "join()", "at least 1"),
        ("join(this.ratio)", "this.ratio", "text or integer"),
        ("max(this.points, this.card)", "max(this.points, this.card)", "one ordered type"),
        ("abs(this.points) over 7d", "over 7d", "'where' and windows belong to aggregates"),
        ("abs(this.points where true)", "abs(this.points where true)", "belong to aggregates"),
    ],
)
def test_a_function_is_refused_with_its_form_where_it_is_called_wrongly(text, fault, words):
    error = refused(text)

    assert words in str(error)
    assert text[error.start : error.end] == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("count() over 7d", "takes an event type"),
        ("count(payment.amount) over 7d", "takes an event type"),
        ("sum(payment.amount, payment.points) over 7d", "takes 1 argument, not 2"),
        ("sum(payment.ratio) over 7d", "Declare the field as number"),
        ("mean(payment.card) over 7d", "mean takes duration, integer, money, number, not text"),
        ("min(payment.card) over 7d", "not text"),
        ("sum(5) over 7d", "takes a field of an event type"),
        ("sum(this.amount) over 7d", "'this' is allowed only in the 'where' of an aggregate"),
        ("share(payment) over 7d", "share takes a condition"),
        ("quantile(payment.amount) over 7d", "takes 2 arguments"),
        ("quantile(payment.amount, 1.5) over 7d", "from 0 to 1"),
        ("quantile(payment.amount, this.points) over 7d", "from 0 to 1"),
        ("quantile(payment.amount, 0.5)", "needs a window"),
        ("nth_last(payment.amount, 1000001) over 7d", "a whole number from 1 to 1,000,000"),
        ("count(payment where payment.amount > this.amount)", "needs a window"),
        ("count(payment where payment.amount) over 7d", "'where' takes true or false"),
        ("count(login) over 7d", "login has no key of card"),
        ("count(payment) over 7d over 8d", "'over' is used twice"),
        ("count(payment) over 7d over last 5", "'over' is used twice"),
        ("count(payment) delayed 7d", "Write over 7d delayed 7d"),
        ("count(payment) over last 5 delayed 7d", "not with 'over last n'"),
        ("count(payment) over 7d delayed 7d including this", "does not go with 'delayed'"),
        ("count(payment) over last 5 since flag", "'since flag' goes with"),
        ("count(payment) over 7d delayed 1d since flag", "'since flag' goes with"),
        ("count(payment) over 7d matching login.card", "takes a field of payment"),
        ("count(payment) over 7d matching card", "takes a field of payment"),
    ],
)
def test_an_aggregate_is_refused_with_a_hint(text, words):
    assert words in str(refused(text))


def test_modifiers_may_stand_in_any_order():
    orders = [
        "over 7d since flag including this",
        "including this since flag over 7d",
        "since flag over 7d including this",
    ]
    found = {check(f"count(payment) {order}", RULE) for order in orders}

    assert found == {
        Aggregate(INTEGER, "count", "card", "payment", over_ms=604_800_000, including=True, since_flag=True)
    }


def test_an_aggregate_may_look_up_what_belongs_to_a_field():
    found = check("distinct(tables.bins[payment.card].country) over 1h", FEATURE)

    assert isinstance(found, Aggregate)
    assert (found.event, found.type) == ("payment", INTEGER)
    assert "reads login and payment" in str(refused("sum(tables.levels[login.points].weight * payment.points) over 1h"))


def test_aggregates_are_found_left_to_right():
    text = "count(payment) over 1h + count(payment) over 2h > sum(payment.points) over 3h"
    hours = [aggregate.over_ms for aggregate in aggregates(check(text, RULE))]

    assert hours == [3_600_000, 7_200_000, 10_800_000]


@pytest.mark.parametrize(
    "text",
    [
        "sum(payment.amount * 2 where payment.ok and payment.card in ['a', this.card]) over 7d > card.spent_24h",
        "not (this.card in lists.blocked_cards) or -this.points < 3 and tables.bins[this.card].country is missing",
        "(round(this.weight, 2) when this.ok) else 2.5",
        "max(this.points, 2) else score",
    ],
)
def test_the_parts_of_a_node_are_all_nodes_that_it_holds(text):
    for each in walk(check(text, RULE)):
        values = [getattr(each, name) for name in each.__struct_fields__]
        held = [item for value in values for item in (value if isinstance(value, tuple) else [value])]

        assert [*children(each)] == [item for item in held if isinstance(item, Node)]


def test_min_and_max_are_aggregates_with_one_argument_and_functions_with_more():
    assert isinstance(check("max(payment.amount) over 7d", RULE), Aggregate)
    assert FUNCTIONS["max"].name == "max"
    assert type_of("max(this.points, 3)") == INTEGER
    assert set(FUNCTIONS) & set(AGGREGATES) == {"min", "max"}


def reads_nothing(node: Node) -> bool:
    return not any(True for _ in aggregates(node))


def test_a_deep_expression_within_the_limits_is_typed():
    text = "this.points"
    for _ in range(39):
        text = f"({text} + 1)"

    assert reads_nothing(check(text, RULE))
