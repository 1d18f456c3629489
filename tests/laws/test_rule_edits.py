"""The law of edited rules: an engine that goes on with other rules decides as one made anew, whatever was edited."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shroff.engine.step import Engine
from shroff.events.event import Event
from shroff.events.labels import LogEvent
from shroff.features.online import engine
from shroff.log.version_switch import Adoption, carried
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.parse_cache import ReadOnce
from tests.laws.projects import BLOCKED, EVENTS, PLACES, SEEDS, SHROFF, TABLES, histories, history_of, quoted, rule
from tests.laws.test_engines import NOW_MS, Made, everything, submission
from tests.support.effort import examples
from tests.support.log_memory import MemoryLog

FEATURES = """
card:
  seen: count(payment) over 20ms
  often: card.seen + sum(card.seen of payment) over 40ms
merchant:
  late: max(payment.points) over 15ms
"""
WHEN = {
    "amount": "this.amount > {n}",
    "seen": "card.seen >= {n} and this.country in lists.asked",
    "often": "card.often >= {n}",  # of a later stage
    "listed": "this.country in lists.asked",
    "own": "count(payment) over 25ms including this >= {n}",
    "share": "share(payment where payment.country == this.country) over 30ms * {n} >= 1",
    "sum": "sum(payment.points) over 30ms > {n}",
    "flag": "count(payment) over 20ms since flag including this >= {n}",
}
REASONS = ("", "{this.amount}", "{card.seen} seen, {this.country}")
AGGREGATING = ("{count(payment) over 25ms} of {this.amount}", "{max(payment.points)}")
PLACES_OF = (*[("payment", "card")] * 4, ("payment", "merchant"), ("refund", "card"), ("login", "card"))
LIST = "value\n{}\n"
KINDS = st.sampled_from([*WHEN, "amount", "seen", "any"])
Parts = Sequence[Sequence[LogEvent]]  # the events under each version
MadeOf = tuple[str, int]  # a kind of rule, and a number that gives where it looks and what its reason aggregates
RULE = st.tuples(KINDS, SEEDS)
WHAT = ("said", "said", "said", "said", "said", "back", "back", "rule", "gone", "list", "policy")
EDIT = st.tuples(st.sampled_from(WHAT), st.integers(0, 4), SEEDS, RULE)
Edit = tuple[str, int, int, MadeOf]


def text_of_rule(number: int, made: MadeOf, seed: int) -> str:
    """A rule; its number in the condition, its effect and what else keeps no state are others for each seed."""
    kind, (fixed, random) = made[0], (Random(made[1]), Random(seed))
    if kind == "any":
        return rule(fixed, number, ())
    more = f", effect: {random.choice(['review', 'decline', 'challenge', 'allow', 'note'])}"
    more += ", shadow: true" if random.random() < 0.2 else ""
    more += ", expires: 2026-03-01" if random.random() < 0.3 else ""
    more += ", rollout: 50%" if random.random() < 0.2 else ""
    reason = fixed.choice(AGGREGATING) if fixed.random() < 0.3 else random.choice(REASONS)
    more += f", reason: {quoted(reason)}" if reason else ""
    on, by = fixed.choice(PLACES_OF)
    when = WHEN[kind].format(n=random.choice([0, 1, 2, 3]))
    if on == "login":
        when, more = f"this.country != '{random.choice('xy')}'", more.replace("this.amount", "this.country")
    return f"- {{ id: r{number}, on: {on}, by: {by}, when: {quoted(when)}{more} }}\n"


PLAIN = next(("amount", seed) for seed in range(99) if "on: payment, by: card" in text_of_rule(0, ("amount", seed), 0))


def versions_of(begun: Sequence[MadeOf], edits: Sequence[Edit]) -> list[Definitions]:
    """The versions of a project whose files are edited one after the other, read as a running process reads them."""
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": FEATURES}
    files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES, "lists/asked.csv": LIST.format("x")}
    rules, read = dict(enumerate(begun)), ReadOnce()
    files |= {f"rules/r{at}.yaml": text_of_rule(at, rule, 0) for at, rule in rules.items()}
    found, past = [load_definitions(dict(files), read=read).or_raise()], [(dict(files), dict(rules))]
    for what, at, seed, made in edits:
        if what in {"said", "rule"}:
            rules[at] = rules.get(at, made) if what == "said" else made
            files[f"rules/r{at}.yaml"] = text_of_rule(at, rules[at], seed)
        elif what == "back":  # to the texts of an earlier version, which a running process still knows as read
            files, rules = map(dict, past[-1 - at % len(past)])
        elif what == "gone":
            files.pop(f"rules/r{at}.yaml", None)
        elif what == "list":
            files["lists/asked.csv"] = LIST.format("xym"[seed % 3])
        else:
            files["policy.yaml"] = (
                f"payment:\n  score: {{ review_at: 0.6 }}\n  without_model: {['rules', 'review'][seed % 2]}\n"
            )
        found.append(load_definitions(dict(files), read=read).or_raise())
        past.append((dict(files), dict(rules)))
    return found


def parts_of(history: Sequence[LogEvent], count: int, seed: int) -> Parts:
    """A history in parts of any length; of some versions no event comes, or none by itself."""
    cuts = sorted(Random(seed).choices(range(len(history) + 1), k=count - 1))
    return [history[start:end] for start, end in pairwise([0, *cuts, len(history)])]


def write(writer: Writer, events: Sequence[LogEvent], size: int) -> None:
    for at in range(0, len(events), size):
        writer.write([submission(event) for event in events[at : at + size]])


def edited(versions: Sequence[Definitions], parts: Parts, size: int) -> MemoryLog:
    """The log of a process that takes each version up between two batches."""
    log = MemoryLog()
    writer = Writer(log, versions[0], lambda: NOW_MS)
    for definitions, part in zip(versions, parts, strict=True):
        if definitions.versions != writer.definitions.versions:
            folded = carried(writer.state, definitions)
            writer.adopt(folded or Adoption(definitions, lambda: MemoryLog(log.store, read_only=True)).finish(log))
        write(writer, part, size)
    return log


def restarted(versions: Sequence[Definitions], parts: Parts, size: int) -> MemoryLog:
    """The log where the process is started again for each version."""
    log = MemoryLog()
    for definitions, part in zip(versions, parts, strict=True):
        write(Writer(log, definitions, lambda: NOW_MS), part, size)
    return log


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the short part of a history under one version goes by columns as well."""
    monkeypatch.setattr(engine, "FEW", 3)


@settings(max_examples=examples(100, usual=8), phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    begun=st.lists(RULE, min_size=2, max_size=4),
    edits=st.lists(EDIT, min_size=3, max_size=8),
    made=histories(),
    cut=SEEDS,
    size=st.sampled_from([1, 3, 40]),
)
def test_edited_rules_give_the_bytes_of_a_restart(
    begun: list[MadeOf], edits: list[Edit], made: Made, cut: int, size: int
):
    versions = versions_of(begun, edits)
    parts = parts_of(history_of(*made), len(versions), cut)

    assert everything(edited(versions, parts, size)) == everything(restarted(versions, parts, size))


@pytest.mark.parametrize("count", [1, 2])  # two that are put back at once get the slots of each other
def test_rules_that_are_edited_and_put_back_hit_as_before(count: int):
    edits = [*(("said", at, 2, PLAIN) for at in range(count)), ("back", count, 0, PLAIN)]
    versions, history = versions_of([PLAIN, ("own", PLAIN[1])], edits), history_of(3, 40)
    parts = [history[:20], *[[]] * count, history[20:]]
    log = edited(versions, parts, 1)

    assert versions[0].rules[0] is versions[-1].rules[0] is not versions[1].rules[0]
    assert {row.seq > 20 for rows in log.hits.after() for row in rows} == {False, True}
    assert everything(log) == everything(restarted(versions, parts, 1))


def test_rows_have_the_slots_and_steps_of_an_engine_made_anew_after_many_edits():
    versions = versions_of([PLAIN, ("seen", PLAIN[1])], [("said", seed % 2, seed, PLAIN) for seed in range(20)])
    event = next(event for event in history_of(3, 40) if isinstance(event, Event) and event.type == "payment")
    engine, anew = Engine(versions[0]), Engine(versions[-1]).online.reads("payment")
    reads = engine.online.reads("payment")

    assert all(engine.take_rules(version) for version in versions[1:])
    assert len(reads.row(event, 0)) == len(anew.row(event, 0))
    assert len(reads.steps) == len(anew.steps)


@pytest.mark.parametrize(
    ("kind", "other", "goes_on"),
    [
        ("amount", "amount", True),
        ("amount", "often", True),
        ("own", "own", True),
        ("amount", "own", False),
        ("own", "sum", False),
        ("flag", "flag", False),
    ],
)
def test_an_engine_goes_on_where_the_aggregates_of_its_rules_are_the_same(kind: str, other: str, goes_on: bool):
    plain = PLAIN[1]
    before, now = versions_of([(kind, plain), ("seen", plain)], [("rule", 0, 1, (other, plain))])

    assert before.versions.rules != now.versions.rules
    assert Engine(before).take_rules(now) is goes_on
