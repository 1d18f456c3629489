"""A rule that is carried over hits exactly where it hit before: made-up conditions on made-up payments.

The meaning is written down here anew, straight from Radar's reference and its change of May 2024: what is missing
spreads through comparisons and their opposites, a rule that comes to nothing does not match, and `is_missing` asks for
it; texts are compared whatever their case.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.loader import load_events
from shroff.language.checker import check
from shroff.language.expression import Node, ThisField
from shroff.language.names import Scope
from shroff.language.row import Evaluate, compile_row
from shroff.language.yaml.text import read
from shroff_plugins.foreign_rules.attributes import COUNTRY, KINDS, TEXT, Mapped, RadarTarget
from shroff_plugins.foreign_rules.rule_import import RadarOptions, carry_over
from shroff_plugins.foreign_rules.syntax import read_rules

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text
    amount: money?
    card_country: text?
    ip_country: text?
    card_funding: choice(Credit, Debit, Prepaid)?
    email: text?
    is_off_session: boolean?
    foo: text?
entities: { card: { payment: card } }
"""
PROBLEMS: list[Any] = []
DECLARED = load_events(read(EVENTS, "events.yaml", PROBLEMS), frozenset(), 2, PROBLEMS)
NAMES = DECLARED.names(frozenset(), 2)
TARGET = RadarTarget("payment", DECLARED, {}, NAMES, "USD")
COUNTRIES = ("US", "us", "DE", "gb")
MAILS = ("a@x.org", "A@X.org", "fraud1@stripe.com", "b@fraud.net")
WORDS = ("bar", "Bar", "foo bar")
SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
Payment = Mapping[str, Any]
Truth = bool | None  # None: it is missing
Meant = tuple[str, Callable[[Payment], Truth]]  # a condition as it is written, and what it means


def asked(name: str, is_so: Callable[[Any], bool]) -> Callable[[Payment], Truth]:
    """A question about one attribute, which is missing where that is."""
    return lambda payment: None if payment[name] is None else is_so(payment[name])


def about_text(name: str, sign: str, value: str) -> Meant:
    return f":{name}: {sign} '{value}'", asked(name, lambda found: SIGNS[sign](found.lower(), value.lower()))


def about_metadata(sign: str, value: str) -> Meant:
    return f"::foo:: {sign} '{value}'", asked("foo", lambda found: SIGNS[sign](found, value))


def about_amount(sign: str, cents: int) -> Meant:
    text = f":amount_in_usd: {sign} {cents / 100:.2f}"
    return text, asked("amount", lambda found: SIGNS[sign](found, cents))


def about_both(sign: str) -> Meant:
    def is_so(payment: Payment) -> Truth:
        card, ip = payment["card_country"], payment["ip_country"]
        return None if None in (card, ip) else bool(SIGNS[sign](card.lower(), ip.lower()))

    return f":card_country: {sign} :ip_country:", is_so


OTHERS: list[Meant] = [
    (":is_off_session:", asked("is_off_session", bool)),
    ("is_missing(:email:)", lambda payment: payment["email"] is None),
    ("is_missing(:is_off_session:)", lambda payment: payment["is_off_session"] is None),
    (":card_country: in ('us', 'DE')", asked("card_country", lambda found: found.lower() in {"us", "de"})),
    (":card_funding: IN ('debit', 'prepaid')", asked("card_funding", lambda found: found != "Credit")),
    (":email: includes 'FRAUD'", asked("email", lambda found: "fraud" in found.lower())),
    (":email: like 'fraud%@stripe.com'", asked("email", lambda found: found.lower() == "fraud1@stripe.com")),
    (":email: like '%@x.org'", asked("email", lambda found: found.lower() == "a@x.org")),
    ("::foo:: includes 'bar'", asked("foo", lambda found: "bar" in found)),
    (":email_domain: = 'Stripe.com'", asked("email", lambda found: found.lower().endswith("@stripe.com"))),
    (":email_domain: != 'X.org'", asked("email", lambda found: not found.lower().endswith("@x.org"))),
    (
        ":email_domain: in ('X.ORG', 'fraud.net')",
        asked("email", lambda found: found.lower()[1:] in {"@x.org", "@fraud.net"}),
    ),
    (":card_funding: includes 'CREDIT'", asked("card_funding", lambda found: found == "Credit")),
    (":amount_in_usd: in (5, 7)", asked("amount", lambda found: found in {500, 700})),
]
equal = st.sampled_from(["=", "!="])
predicates = st.one_of(
    st.builds(about_text, st.sampled_from(["card_country", "ip_country"]), equal, st.sampled_from(COUNTRIES)),
    st.builds(about_text, st.just("email"), equal, st.sampled_from(MAILS)),
    st.builds(about_text, st.just("card_funding"), equal, st.sampled_from(["credit", "PREPAID"])),
    st.builds(about_metadata, equal, st.sampled_from(WORDS)),
    st.builds(about_amount, st.sampled_from(sorted(SIGNS)), st.sampled_from([500, 1050, 10_000])),
    st.builds(about_both, equal),
    st.sampled_from(OTHERS),
)


def opposite(word: str, meant: Meant) -> Meant:
    def is_so(payment: Payment) -> Truth:
        found = meant[1](payment)
        return None if found is None else not found

    return f"{word}({meant[0]})", is_so


def joined(word: str, left: Meant, right: Meant) -> Meant:
    settles = word in {"or", "||"}  # the value of one side that settles it, whatever the other is

    def is_so(payment: Payment) -> Truth:
        found = [part[1](payment) for part in (left, right)]
        if settles in found:
            return settles
        return None if None in found else not settles

    return f"({left[0]}) {word} ({right[0]})", is_so


conditions = st.recursive(
    predicates,
    lambda inner: st.one_of(
        st.builds(opposite, st.sampled_from(["not ", "!"]), inner),
        st.builds(joined, st.sampled_from(["and", "or", "&&", "||"]), inner, inner),
    ),
    max_leaves=6,
)
payments = st.fixed_dictionaries(
    {
        "amount": st.sampled_from([None, 500, 700, 1050, 10_000]),
        "card_country": st.sampled_from([None, *COUNTRIES]),
        "ip_country": st.sampled_from([None, *COUNTRIES]),
        "card_funding": st.sampled_from([None, "Credit", "Debit", "Prepaid"]),
        "email": st.sampled_from([None, *MAILS]),
        "is_off_session": st.sampled_from([None, True, False]),
        "foo": st.sampled_from([None, *WORDS]),
    }
)


def leaf(node: Node) -> Evaluate:
    assert isinstance(node, ThisField)
    name = node.name
    return lambda payment: payment[name]


@given(conditions, st.lists(payments, min_size=1, max_size=8))
def test_a_rule_that_is_carried_over_hits_where_it_hit_before(condition, rows):
    text, is_hit = condition
    rules, unread = read_rules(f"Block if {text}", "rules.txt")
    outcome = carry_over(rules, TARGET, RadarOptions("rules.txt"))
    assert (unread, outcome.refused) == ([], [])
    (rule,) = outcome.carried
    evaluate = compile_row(check(rule.when, Scope(NAMES, this=("payment",))), leaf)

    for row in rows:
        assert (evaluate(row) is True) == (is_hit(row) is True), (rule.when, row)


@given(conditions, conditions, payments)
def test_what_is_allowed_is_not_declined(allowed, blocked, row):
    rules, _ = read_rules(f"Allow if {allowed[0]}\nBlock if {blocked[0]}", "rules.txt")
    allow, block = carry_over(rules, TARGET, RadarOptions("rules.txt")).carried
    scope = Scope(NAMES, this=("payment",))
    is_allowed, is_declined = (compile_row(check(item.when, scope), leaf)(row) is True for item in (allow, block))

    assert is_allowed == (allowed[1](row) is True)
    assert is_declined == (blocked[1](row) is True and not is_allowed)


# ---- capitals, of every attribute

COMPARED = ("= '{}'", "in ('{}', 'zz')", "includes '{}'", "like '{}'", "like '{}%'", "= ::mapped::", "= :own:")
FOLDED = [name for name, kind in KINDS.items() if kind in {TEXT, COUNTRY}]
DERIVED = {
    "email_domain": "email: text?",  # of the address
    "card_funding": 'card_funding: "choice(Ab, cD, ...)?"',
    "card_brand": 'card_brand: "choice(Ab, cD, Zz)?"',
    ":folded:": "f: text?",  # said to be folded by the mapping
    ":folded_else:": "f: text?",
}
MAPPED = {"::mapped::": "lower(this.m)", "own": "upper(this.m)", "::folded::": "lower(this.f)"}
MAPPED |= {"::folded_else::": "upper(this.f) else '-'"}


@pytest.mark.parametrize(("name", "declared"), [*((item, f"{item}: text?") for item in FOLDED), *DERIVED.items()])
def test_capitals_of_a_value_do_not_matter_where_they_do_not_in_radar(name, declared):
    text = f"p:\n  id: id\n  time: at\n  decide: true\n  fields: {{ id: text, at: time, m: text?, {declared} }}\n"
    problems: list[Any] = []
    events = load_events(read(text + "entities: { m: { p: m } }", "events.yaml", problems), frozenset(), 2, problems)
    target = RadarTarget("p", events, {}, events.names(frozenset(), 2), "USD", Mapped(MAPPED))
    rules, unread = read_rules("\n".join(f"Block if :{name}: {item.format('aB')}" for item in COMPARED), "rules.txt")
    outcome = carry_over(rules, target, RadarOptions("rules.txt"))
    field = declared.partition(":")[0]

    assert (problems, unread, outcome.refused) == ([], [], [])
    for rule in outcome.carried:
        evaluate = compile_row(check(rule.when, Scope(target.names, this=("p",))), leaf)
        for value, is_hit in (("Ab", True), ("cD", False)):
            row = {"m": "AB", field: f"Someone@{value}" if field == "email" != name else value}
            assert evaluate(row) is is_hit, (rule.when, row)
