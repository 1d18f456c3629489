"""Generated projects and histories for the laws of the engines.

A project is text, as a person would write it, so the laws hold the reading of it too.
Times lie close together and windows are a few milliseconds long: ties, window edges and
late events are then in nearly every history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from hypothesis import strategies as st

from shroff.errors import Problem
from shroff.events.event import Event
from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.definitions import load_features
from shroff.language.aggregates import AGGREGATES, AggregateRow
from shroff.language.types import UNITS_MAX
from shroff.language.yaml.text import read
from shroff.project.definitions import Definitions, load_definitions
from shroff.rules.definitions import RuleLoader
from shroff.runtime.values import replace
from tests.support.effort import IS_LONG

START_MS: Final = 1_772_409_599_970  # 30 ms before midnight, at which some rules expire
LATENESS_MS: Final = 12

SHROFF = f"""
shroff: 1
name: law
money: EUR
lateness: {LATENESS_MS}ms
"""
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text?
    merchant: text?
    country: text?
    amount: money?
    points: integer?
    weight: number(3)?
    ratio: real?
    ok: boolean?
    channel: choice(pos, web)?
    wait: duration?
login:
  id: id
  time: at
  fields: { id: text, at: time, card: text?, merchant: text?, country: text? }
refund:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text?, merchant: text?, country: text?, amount: money? }
entities:
  card: { payment: card, login: card, refund: card }
  merchant: { payment: merchant, refund: merchant }
  card_country: { payment: [card, country], login: [card, country] }
  region:
    payment: lower(payment.country)
"""
TABLES: Final = "tables: { places: { place: text, zone: text, level: integer, limit: money } }\n"
KEYED: Final = {
    "card": ("payment", "login", "refund", "label"),
    "merchant": ("payment", "refund", "label"),
    "card_country": ("payment", "login", "label"),
    "region": ("payment", "label"),
}
EXACT: Final = {
    "payment": (
        "payment.amount",
        "payment.points",
        "payment.weight",
        "payment.amount * payment.weight",
        "tables.places[payment.country].limit",
        "payment.points * payment.points",
    ),
    "login": (),
    "refund": ("refund.amount", "-2 * refund.amount", "tables.places[refund.country].level"),
    "label": ("label.of.amount", "label.amount"),
}
REALS: Final = {"payment": ("payment.ratio", "payment.ratio * payment.amount")}
TIMES: Final = {
    "payment": ("payment.at", "payment.wait", "payment.wait * payment.points"),
    "login": ("login.at",),
    "refund": ("refund.at",),
    "label": ("label.known_at", "label.of.at"),
}
OTHERS: Final = {
    "payment": (
        "payment.country",
        "payment.ok",
        "payment.channel",
        "join(payment.country, payment.channel)",
        "tables.places[payment.country].zone",
    ),
    "login": ("login.country", "login.merchant"),
    "refund": ("refund.merchant",),
    "label": ("label.verdict", "label.source", "label.of.country"),
}
ARGUMENTS: Final = {"money": EXACT, "real": REALS, "time": TIMES, "text": OTHERS}  # by a type that stands for its like
# Conditions on the event alone.
ITEM: Final = {
    "payment": (
        "payment.channel == 'pos'",
        "payment.amount > 3",
        "payment.ok",
        "not payment.ok",
        "payment.country is missing",
        "payment.points in 1 .. 2",
        "payment.country in ['x', 'y']",
        "(payment.ok or payment.ratio >= 0.5)",
        "payment.country in lists.blocked",
        "tables.places[payment.country].level >= 2",
    ),
    "login": (
        "login.country == 'x'",
        "login.merchant not in lists.blocked",
        "tables.places[login.country].zone != 'n'",
    ),
    "refund": ("refund.amount >= 0.02", "refund.country != 'x'"),
    "label": ("label.verdict == 'fraud'", "label.of.amount > 3", "label.source in ['analyst', 'import']"),
}
# Entries of a list: one for ever, and some that expire inside nearly every history.
BLOCKED: Final = f"value,expires_at\nm,\nx,{START_MS + 15}\nX,{START_MS + 40}\n"
PLACES: Final = "place,zone,level,limit\nx,n,1,3.00\nX,s,3,\na,,2,0.00\n"
# Keys for which the second rule is silent: its first one until the middle of a history.
SILENT: Final = f"value,expires_at\na,{START_MS + 20}\nm,\nx,\n"
# What a version may have instead of the files of the others, or else.
OTHER_FILES: Final = {
    "shroff.yaml": (SHROFF.replace("12ms", "5ms"), SHROFF.replace("12ms", "30ms")),
    "events.yaml": (EVENTS.replace("lower(payment", "upper(payment") + TABLES,),
    "lists/blocked.csv": (f"value,expires_at\ny,\nx,{START_MS + 2}\na,\n",),
    "lists/silence.r0.csv": ("value,expires_at\na,\n", f"value,expires_at\na,{START_MS + 9}\nm,\nx,{START_MS + 30}\n"),
    "tables/places.csv": ("place,zone,level,limit\nx,s,3,10.00\nm,n,1,1.00\n",),
    "policy.yaml": ("payment:\n  without_model: review\n",),
}
COUNTRY: Final = {
    "payment": "payment.country",
    "login": "login.country",
    "refund": "refund.country",
    "label": "label.of.country",
}
AMOUNT: Final = {"payment": "payment.amount", "refund": "refund.amount", "label": "label.of.amount"}
VIA: Final = {
    "payment": (
        "payment.country",
        "payment.merchant",
        "lower(payment.country)",
        "payment.points",
        "payment.card in lists.blocked",
    ),
    "login": ("login.country", "login.merchant"),
    "refund": ("refund.country", "refund.merchant", "tables.places[refund.country].zone"),
}
LENGTHS: Final = ("7ms", "20ms", "3ms", "1ms", "1s")


@dataclass(frozen=True)
class Where:
    """Where an aggregate is written: whose it is, which fields `this` has, which features it may read with `of`."""

    entity: str
    this: tuple[str, ...] = ("country", "amount", "points")
    features: tuple[str, ...] = ()
    since_flag: bool = False
    links: float = 0.1  # how often an aggregate has `via`


def aggregate(random: Random, where: Where, kind: str = "any") -> str:
    """An aggregate with its window; `kind` is `number` where it is to be a number that compares with numbers."""
    functions = [
        name
        for name, row in AGGREGATES.items()
        if kind == "any" or row.type is not None or row.is_summed
        for _ in range(1 + row.is_tally)
    ]
    row = AGGREGATES[random.choice(functions)]
    events = [event for event in KEYED[where.entity] if row.takes is None or arguments(row, event)]
    event = random.choice([*events, "payment", "payment"])
    parts = conditions(random, where, event, must=row.needs_where)
    is_look = row.scans or any(part in looks(where, event) for part in parts)
    inside = event if row.takes is None else argument(random, row, where, event)
    ranks = ["1", "2", "3"] if row.state == "looks" else ["0", "0.5", "0.95", "1"]
    rank = f", {random.choice(ranks)}" if row.has_rank else ""
    condition = f" where {' and '.join(parts)}" if parts else ""
    via = links(random, where, event)
    if via:
        delayed = random.choice(["", "", f" delayed {random.choice(LENGTHS)}"])
        each = random.choice(["", " of each source"]) if event == "label" else ""
        after = f" over {random.choice(LENGTHS)}{delayed}{each}{random.choice(['', ' including this'])}"
    else:
        after = window(random, where, needs_one=is_look) + matching(random, where, event)
    return f"{row.name}({inside}{rank}{via}{condition}){after}"


def links(random: Random, where: Where, event: str) -> str:
    """Now and then what links keys, with a cap that makes hubs of many values."""
    sources = [event] if event != "label" else [name for name in KEYED[where.entity] if name in ("payment", "refund")]
    if where.since_flag or random.random() < 1 - where.links:
        return ""
    cap = random.choice(["", " up to 1", " up to 2", " up to 3"])
    return f" via {random.choice(VIA[random.choice(sources)])}{cap}"


def arguments(row: AggregateRow, event: str) -> list[str]:
    """The fields and expressions of an event type that an aggregate takes."""
    assert row.takes is not None
    return [text for kind, by_event in ARGUMENTS.items() if kind in row.takes for text in by_event.get(event, ())]


def argument(random: Random, row: AggregateRow, where: Where, event: str) -> str:
    """What is aggregated: a field, an expression, or what a feature was at the event."""
    options = arguments(row, event)
    if event != "label" and where.features:
        options += [f"{random.choice(where.features)} of {event}"] * 4
    return random.choice(options)


def conditions(random: Random, where: Where, event: str, *, must: bool) -> list[str]:
    """The parts of a `where`, to be joined by `and`."""
    parts = [random.choice(ITEM[event])] if must or random.random() < 0.3 else []
    if event != "label" and where.features and random.random() < 0.1:
        parts.append(f"{random.choice(where.features)} of {event} > 1")
    kind = random.choice(["none", "none", "none", "pair", "look"])
    options = pairs(where, event) if kind == "pair" else looks(where, event) if kind == "look" else ()
    if options:
        parts.append(random.choice(options))
    random.shuffle(parts)
    return parts


def pairs(where: Where, event: str) -> tuple[str, ...]:
    """Equalities of the event's field and this event's; a list that is asked about neither is asked at the event's."""
    found = (f"{COUNTRY[event]} == this.country", f"this.country == lower({COUNTRY[event]})")
    found += (f"({COUNTRY[event]} in lists.blocked) == (this.country in lists.blocked)",)
    found += ("('x' in lists.blocked) == (this.country == 'x')",)
    found += (f"tables.places[{COUNTRY[event]}].zone == tables.places[this.country].zone",)
    if "amount" in where.this and event in AMOUNT:
        found += (f"{AMOUNT[event]} == this.amount", f"{AMOUNT[event]} == this.amount and {found[0]}")
    return found


def looks(where: Where, event: str) -> tuple[str, ...]:
    """Conditions that compare with `this` otherwise, for which each event is looked at."""
    country = COUNTRY[event]
    found: tuple[str, ...] = (
        f"{country} != this.country",
        f"({country} in lists.blocked or this.country in lists.blocked)",
        f"(this.country else {country}) in lists.blocked",  # of both events, which no program has
        f"('x' in lists.blocked or {country} == this.country)",
        "(this.country == 'x' and 'x' in lists.blocked)",
        f"({country} == 'x') == (this.country == 'x' or tables.places['x'].zone in lists.blocked)",
        f"{country} <= this.country",
        f"tables.places[{country}].level < tables.places[this.country].level",
    )
    if "amount" in where.this and event in AMOUNT:
        amount = AMOUNT[event]
        found += (
            f"{amount} > this.amount",
            f"this.amount in 0.5 * {amount} .. {amount}",
            f"({amount} < this.amount or {country} == this.country)",
            f"max({amount}, -this.amount) * 2 - this.amount > 3",
            f"this.amount / {amount} < 1.5",
            f"{amount} > (tables.places[this.country].limit else this.amount)",
        )
        if event == "payment":
            found += (
                "payment.ratio < this.amount",
                "payment.points > this.amount",
                "payment.wait * 2 > 3ms + this.at - this.at",
            )
    if "points" in where.this and event == "payment":
        found += ("-payment.points > this.points", "abs(this.points) > payment.points")
        found += tuple(f"{feature} of payment >= -(0 - this.points)" for feature in where.features)
    return found


def window(random: Random, where: Where, *, needs_one: bool = False) -> str:
    """What stands after the bracket."""
    kinds = (
        ["over", "over", "over"] + ([] if needs_one else ["ever"]) + ([] if where.since_flag else ["last", "delayed"])
    )
    kind = random.choice(kinds)
    words = {
        "ever": "",
        "over": f" over {random.choice(LENGTHS)}",
        "last": f" over last {random.randint(1, 4)}",
        "delayed": f" over {random.choice(LENGTHS)} delayed {random.choice(LENGTHS)}",
    }[kind]
    including = " including this" if kind != "delayed" and random.random() < 0.5 else ""
    return words + (" since flag" if where.since_flag else "") + including


def matching(random: Random, where: Where, event: str) -> str:
    """Rarely: the events whose other field is this key; of labels also those that leave the verdict as it was."""
    if event == "label":
        return random.choice(["", " of each source"])
    if where.entity not in {"card", "merchant"} or random.random() < 0.9:
        return ""
    return f" matching {event}.{random.choice(['merchant', 'card', 'country'])}"


def feature(random: Random, where: Where) -> tuple[str, bool]:
    """The text of a feature, and whether it is an exact number that a later aggregate may sum."""
    counted = random.choice([event for event in KEYED[where.entity] if event != "label"])
    shape = random.choice(
        ["plain", "plain", "plain", "count", "read", "quotient", "else", "since", "this", "looked up", "turned"]
    )
    if shape == "read" and where.features:
        return f"{random.choice(where.features)} + count({counted}){window(random, where)}", True
    if shape == "turned":
        return f"-(min(payment.points){window(random, where)})", True
    if shape == "count":
        return f"count({counted}){window(random, where)}", True
    if shape == "looked up":
        return (
            f"tables.places[this.country].level + (1 when this.country in lists.blocked else 0) * count({counted})",
            True,
        )
    if shape == "quotient":
        return f"{aggregate(random, where, 'number')} / ({aggregate(random, where, 'number')})", False
    if shape == "else":
        return f"({aggregate(random, where, 'number')}) * 1.0 / 3 else 0", False
    if shape == "since":
        return "this.at - last(payment.at)", False
    if shape == "this":
        return f"this.amount / (mean(payment.amount){window(random, where)} else this.amount)", False
    return aggregate(random, where), False


def rule(random: Random, number: int, stackable: tuple[str, ...]) -> str:
    """One rule, most of them `since flag`; few expire in the middle of a history, or hold for a part of the keys."""
    on = random.choice(["payment", "payment", "refund", "login"])
    by = random.choice(["card", *(entity for entity, events in KEYED.items() if on in events)])
    this = {"login": ("country",), "refund": ("country", "amount")}.get(on, Where(by).this)
    where = Where(by, this, stackable, since_flag=random.random() < 0.8)
    comparison = random.choice([">=", ">=", ">", "!=", "<", "=="])
    when = f"({aggregate(random, where, 'number')}) * 1.0 {comparison} {random.choice(['1', '2', '3', '0.5'])}"
    if on != "login" and by != "card_country" and random.random() < 0.2:
        when = f"this.amount > 2 * mean(payment.amount){window(random, where)}"
    if random.random() < 0.2:
        when += f" and {aggregate(random, replace(where, since_flag=False), 'number')} * 1.0 >= 1"
    if random.random() < 0.1:  # texts have an order, which no program knows
        when += f" or first(payment.country){window(random, replace(where, since_flag=True))} <= this.country"
    effect = random.choice(["review", "review", "decline", "challenge", "allow", "note"])
    more = f", effect: {effect}, shadow: {random.choice(['true', 'false'])}"
    more += ", expires: 2026-03-01" if random.random() < 0.1 else ""
    more += ", rollout: 50%" if random.random() < 0.1 else ""
    more += f", reason: {quoted('{' + aggregate(random, where, 'number') + '}')}" if random.random() < 0.2 else ""
    return f"- {{ id: r{number}, on: {on}, by: {by}, when: {quoted(when)}{more} }}\n"


def quoted(text: str) -> str:
    return f'"{text}"'


SEEDS: Final = st.integers(0, 2**32)


def texts() -> st.SearchStrategy[tuple[str, str]]:
    """The text of features.yaml and of one rule file, of a few features and rules.

    Each is made of a number that hypothesis draws, evenly and fast; what fails is cut to few of them.
    """
    return st.builds(text_of, st.lists(SEEDS, min_size=1, max_size=6), st.lists(SEEDS, max_size=2))


def versions() -> st.SearchStrategy[tuple[str, str, int]]:
    """The same, and which of the other files the project differs in; 0: in none."""
    return st.tuples(texts(), st.just(0) | SEEDS).map(lambda made: (*made[0], made[1]))


def text_of(feature_seeds: Sequence[int], rule_seeds: Sequence[int]) -> tuple[str, str]:
    lines: dict[str, list[str]] = {}
    stackable: tuple[str, ...] = ()
    for number, seed in enumerate(feature_seeds):
        random = Random(seed)
        entity = random.choice(["card", *KEYED])
        text, is_exact = feature(random, Where(entity, features=stackable))
        lines.setdefault(entity, []).append(f"  f{number}: {quoted(text)}\n")
        stackable += (f"{entity}.f{number}",) if is_exact else ()
    rules = "".join(rule(Random(seed), number, stackable) for number, seed in enumerate(rule_seeds))
    return "".join(f"{entity}:\n{''.join(declared)}" for entity, declared in lines.items()), rules


def project(features_text: str, rules_text: str = "", others: int = 0) -> Definitions:
    """A project of these features and rules, and with others of the other files for each number but 0.

    Raises: DefinitionError, which would be a mistake of the strategies.
    """
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": features_text}
    files |= {"lists/blocked.csv": BLOCKED, "lists/silence.r1.csv": SILENT, "tables/places.csv": PLACES}
    if rules_text:
        files["rules/r.yaml"] = rules_text
    random = Random(others)
    files |= {name: random.choice(texts) for name, texts in OTHER_FILES.items() if others and random.random() < 0.5}
    return load_definitions(files).or_raise()


@cache
def without_features() -> Definitions:
    return project("")


def computing_project(features_text: str, rules_text: str = "") -> Definitions:
    """The same without files and versions. Raises: AssertionError for a mistake of the strategies."""
    problems: list[Problem] = []
    declared = without_features()
    names = declared.events.names(frozenset(declared.reference.lists), declared.settings.money_places)
    found, types = load_features(read(features_text, "features.yaml", problems), declared.events, names, problems)
    loader = RuleLoader(declared.events, names, types, problems, [])
    rules = loader.load(read(rules_text, "rules/r.yaml", problems)) if rules_text else []

    assert problems == []
    return replace(declared, features=found, rules=tuple(rules))


# ---- histories

CARDS: Final = ("a", "a", "a", "a", "b", "x", None)  # one key is hot; `x` is a country too, for `matching`
MERCHANTS: Final = ("m", "m", "a", None)
COUNTRIES: Final = ("x", "x", "y", "X", None)
AMOUNTS: Final = (300, 301, 602, 1_000, 0, 1, -100, 300, 602, UNITS_MAX, -UNITS_MAX, None)
POINTS: Final = (1, 2, 3, 1, 2, 0, -1, 2**63 - 1, -(2**63), 10**15, 10**15 + 1, None)
WEIGHTS: Final = (500, 1_000, 1_500, 0, 1, 10**15, None)
RATIOS: Final = (0.5, 0.1, -0.25, 0.0, 1e300, 5e-324, None)
WAITS: Final = (5, 1_000, 0, None)
STEPS: Final = (0, 1, 2, 0, 1, 3, 0, 1, 5, 7, 10, -1, -3, -7, -LATENESS_MS, 40, 2_000)
TYPES: Final = ("payment", "payment", "payment", "refund", "login", "label")
FIELDS: Final = {
    "payment": (
        CARDS,
        MERCHANTS,
        COUNTRIES,
        AMOUNTS,
        POINTS,
        WEIGHTS,
        RATIOS,
        (True, False, None),
        ("pos", "web", None),
        WAITS,
    ),
    "refund": (CARDS, MERCHANTS, COUNTRIES, AMOUNTS),
    "login": (CARDS, MERCHANTS, COUNTRIES),
}


def histories() -> st.SearchStrategy[tuple[int, int]]:
    """The number that a history is made of, evenly and fast, and its length."""
    return st.tuples(SEEDS, st.integers(20, 60))


def some_cases(count: int) -> Iterator[tuple[Random, list[LogEvent]]]:
    """So many histories, with a source of chance for what goes with each: a loop where hypothesis adds nothing.

    For errors that a law must catch: always the same cases where a change is tried, and others in each campaign.
    """
    chance = Random(None if IS_LONG else 0)
    for _ in range(count):
        yield chance, history_of(chance.getrandbits(32), chance.randint(20, 60))


def some_texts(random: Random) -> tuple[str, str]:
    """The text of features.yaml and of one rule file, of as many features and rules as `texts` has."""
    numbers = [random.getrandbits(32) for _ in range(8)]
    return text_of(numbers[: random.randint(1, 6)], numbers[6 : random.randint(6, 8)])


def history_of(seed: int, length: int) -> list[LogEvent]:
    """The first events of the history of a number: none older than the watermark by more than the lateness."""
    random = Random(seed)
    history: list[LogEvent] = []
    decided: list[Event] = []
    watermark_ms = START_MS
    for number in range(length):
        type_ = random.choice(TYPES)
        if type_ == "label" and decided:
            history.append(label(random, random.choice(decided[-5:]), number))
            continue
        time_ms = watermark_ms + random.choice(STEPS)
        event = event_of(random, "payment" if type_ == "label" else type_, number, time_ms)
        watermark_ms = max(watermark_ms, time_ms)
        history.append(event)
        if event.type != "login":
            decided.append(event)
    return history


def event_of(random: Random, type_: str, number: int, time_ms: int) -> Event:
    values = (f"e{number}", time_ms, *(random.choice(options) for options in FIELDS[type_]))
    return Event(type_, f"e{number}", time_ms, values)


def label(random: Random, of: Event, number: int) -> LabelEvent:
    """A label, now and then known long after the events around it."""
    known_at_ms = of.time_ms + random.choice([0, 0, 1, 5, 3_000])
    verdict = random.choice(["fraud", "genuine", "unclear"])
    source = random.choice(["chargeback", "analyst", "customer", "import"])
    values = (f"{of.type}/{of.id}", verdict, source, known_at_ms, None, random.choice([None, 100, 250]))
    return LabelEvent(f"{of.type}/{of.id}#{number}", known_at_ms, values, of, random.random() < 0.7)
