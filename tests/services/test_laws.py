# ruff: noqa: E501 - a law is a line
"""`shroff prove`: planted violations are found, true laws are proved, and random events break none of them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from random import Random

import pytest

from shroff.events.event import Event
from shroff.features.computed import Computed
from shroff.features.naive import Naive
from shroff.language.expression import Literal, beside_literals, walk
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.project.definitions import Definitions, computed_of, load_definitions
from shroff.project.laws import Law
from shroff.project.policy import OUTCOMES, outcome
from shroff.runtime.values import replace
from shroff.services.laws import proof
from shroff.services.laws.proof import Counterexample, prove
from tests.services.laws import DRAFTS, FALSE, TRUE, law, loaded
from tests.support.effort import one_in

START_MS = 1_772_000_000_000
STEPS_MS = (0, 1, MINUTE_MS, 9 * MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 5 * HOUR_MS, DAY_MS)


@pytest.fixture(scope="module")
def projects() -> dict[str, Definitions]:
    return {name: loaded(name) for name in sorted({name for name, _ in (*TRUE, *FALSE)})}


@pytest.mark.parametrize("template, text", one_in(4, TRUE))
def test_a_true_law_is_proved(projects, template, text):
    definitions = projects[template]
    found = prove(law(text, definitions), definitions, definitions)
    assert found.answer == "proved", found.reason


@pytest.mark.parametrize("template, text", one_in(4, FALSE))
def test_an_event_that_breaks_a_false_law_is_found_and_breaks_it_in_the_engine(projects, template, text):
    definitions = projects[template]
    broken = law(text, definitions)
    found = prove(broken, definitions, definitions)
    assert found.answer == "refuted", found.reason
    assert breaks([broken], definitions, found.found.events, found.found.lists)[-1] == [True]


@pytest.mark.parametrize("template, old, new, text", DRAFTS)
def test_what_a_draft_loosens_is_found(projects, template, old, new, text):
    draft = loaded(template, old, new)
    of_draft = law(text, draft)
    found = prove(of_draft, draft, projects[template])
    assert found.answer == "refuted", found.reason
    assert prove(of_draft, draft, draft).answer == "proved"
    outcomes = [decided(definitions, found.found)[-1] for definitions in (draft, projects[template])]
    assert outcomes[0] != outcomes[1]


def test_the_answer_is_the_same_each_time(projects):
    definitions = projects["payments"]
    large = law(FALSE[0][1], definitions)
    first, second = (prove(large, definitions, definitions) for _ in range(2))
    assert first.found == second.found


def random_events(definitions: Definitions, type_name: str, random: Random, count: int) -> list[Event]:
    """Events whose values are often equal, or beside what rules compare with."""
    type_ = definitions.events.types[type_name]
    literals = {}
    nodes = [rule.when for rule in definitions.rules] + [feature.node for feature in definitions.features.values()]
    for part in (part for node in nodes for part in walk(node)):
        for _, side, literal in beside_literals(part):
            name = getattr(side, "name", "")
            if isinstance(literal, Literal) and isinstance(literal.value, int):
                literals.setdefault(name, set()).update(literal.value * scale for scale in (1, 100))
            elif isinstance(literal, Literal) and isinstance(literal.value, str):
                literals.setdefault(name, set()).add(literal.value)
    events = []
    time_ms = START_MS
    for row in range(count):
        time_ms += random.choice(STEPS_MS)
        values = []
        for field in type_.fields:
            near = [*literals.get(field.name, ())]
            match field.type.kind:
                case "time":
                    value = time_ms if field.name == type_.time_field else START_MS
                case "choice":
                    value = random.choice(field.type.choices)
                case "text":
                    value = f"{type_.name}-{row}" if field.name == type_.id_field else random.choice([*near, "a", "b"])
                case "boolean":
                    value = random.random() < 0.5
                case _:
                    value = max(random.choice([*near, 0, 100, 250, 30_000, 1_000_001]) + random.choice([-1, 0, 1]), 0)
            values.append(None if field.shape.is_optional and random.random() < 0.2 else value)
        events.append(Event(type_.name, f"{row}", time_ms, tuple(values)))
    return events


def breaks(laws: list[Law], definitions: Definitions, events: list[Event], lists=None) -> list[list[bool]]:
    """Which laws each event breaks, by the naive engine over all events, without the prover's code."""
    computed = [each for each in computed_of(definitions) if not each.is_reason]
    conditions = [
        Computed(f"when {number}", checked.when, "", frozenset([checked.on]), needs_key=False)
        for number, checked in enumerate(laws)
        if checked.when is not None
    ]
    reference = replace(
        definitions.reference, lists={name: dict.fromkeys(values) for name, values in (lists or {}).items()}
    )
    naive = Naive(definitions.events, [*computed, *conditions], reference)
    answers = []
    for event in events:
        values = naive.add(event)
        hits = [rule for rule in definitions.rules if rule.on == event.type and values.get(rule.computed.name) is True]
        got = outcome([rule.effect for rule in hits if not rule.is_shadow], definitions.policy(event.type))
        ids = {rule.id for rule in hits}
        row = []
        for number, checked in enumerate(laws):
            when = checked.on == event.type and (checked.when is None or values.get(f"when {number}") is True)
            when = when and (not checked.rule or checked.rule in ids)
            row.append(when and (checked.hits not in ids if checked.hits else got in checked.never))
        answers.append(row)
    return answers


def decided(definitions: Definitions, example: Counterexample) -> list[str]:
    """The outcome of each event."""
    never = [law(f"on: {example.events[-1].type}\n  never: [{name}]", definitions) for name in OUTCOMES]
    rows = breaks(never, definitions, example.events, example.lists)
    return [OUTCOMES[row.index(True)] for row in rows]


def events_that_break_true_laws(projects, count: int) -> list[tuple[str, str]]:
    found = []
    random = Random(0)
    for template, definitions in projects.items():
        texts = [text for name, text in TRUE if name == template]
        laws = [law(text, definitions) for text in texts]
        share = count * len(texts) // len(TRUE)
        for _ in range(-(-share // 10)):
            for row in breaks(laws, definitions, random_events(definitions, laws[0].on, random, 10)):
                found += [(template, text) for text, is_broken_ in zip(texts, row, strict=True) if is_broken_]
    return found


@pytest.mark.slow
def test_no_random_event_breaks_a_true_law(projects):
    assert events_that_break_true_laws(projects, 1_000) == []


@pytest.mark.long
def test_no_random_event_of_many_breaks_a_true_law(projects):
    assert events_that_break_true_laws(projects, 1_000_000) == []


def test_random_events_break_false_laws(projects):
    definitions = projects["payments"]
    laws = [law(text, definitions) for name, text in FALSE if name == "payments"]
    events = random_events(definitions, "payment", Random(1), 60)
    assert sum(map(any, zip(*breaks(laws, definitions, events), strict=True))) >= 3


# ---- planted faults and traps


PROJECT = {
    "shroff.yaml": "shroff: 1\nname: traps\nmoney: EUR\n",
    "events.yaml": """
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text?
    device: text?
    country: text?
    amount: money
    paid: money?
    items: integer
    ratio: real?
    kind: choice(a, b)
other:
  id: id
  time: at
  fields: { id: text, at: time, card: text, amount: money }
tables:
  bins: { bin: text, country: text }
entities:
  card: { payment: card, other: card }
  device: { payment: device }
""",
    "tables/bins.csv": "bin,country\n4,DE\n",
    "lists/bad.csv": "value,note,added_by,expires_at\n",
    "lists/silence.first.csv": "value,note,added_by,expires_at\n",
    "features.yaml": """
card:
  hour: count(payment) over 1h
  day: count(payment) over 1d
  late: count(payment) over 1h delayed 1h
  own: count(payment) over 1h including this
  total: sum(payment.amount) over 1d including this
  before: sum(payment.amount) over 1d
  items: sum(payment.items) over last 1 including this
  product: sum(payment.amount * payment.items) over last 1 including this
  mean: mean(payment.amount) over 1d including this
  least: min(payment.amount) over 1d including this
  newest: last(payment.country) over 1d including this
  middle: median(payment.amount) over 1d including this
  spread: std(payment.amount) over 1d including this
  second: nth_last(payment.amount, 2) over last 5 including this
  countries: distinct(payment.country) over 1d including this
  same: count(payment where payment.country == this.country) over 1d including this
  others: count(other) over 1d
  above: count(payment where payment.amount > card.before) over 1d
  linked: count(payment via payment.device) over 1d including this
  rest: this.amount / card.before
  share: this.amount / this.paid
  scaled: this.ratio * 0.1
  kinds: count(payment where payment.kind == 'a') over 1d including this
""",
    "rules/a.yaml": """
- id: first
  on: payment
  by: card
  when: this.amount > 100
  effect: review
- id: again
  on: payment
  by: card
  when: this.amount > 100 and this.kind == 'a'
  effect: review
- id: flagged
  on: payment
  by: card
  when: count(payment) over 1d since flag including this >= 3
  effect: note
- id: also_flagged
  on: payment
  by: card
  when: count(payment) over 1d since flag including this >= 3 and this.kind == 'a'
  effect: note
- id: blocked
  on: payment
  by: card
  when: this.device in lists.bad
  effect: decline
- id: part
  on: payment
  by: card
  when: this.items > 1_000
  effect: decline
  rollout: 50%
- id: past
  on: payment
  by: card
  when: this.items > 2_000
  effect: decline
  expires: 2030-01-01
- id: good
  on: payment
  by: card
  when: this.country == 'DE'
  effect: allow
- id: quiet
  on: payment
  by: card
  when: this.items < 0
  effect: decline
  shadow: true
""",
    "policy.yaml": "payment:\n  score: { review_at: 0.60, decline_at: 0.92 }\n",
}
ALL = "never: [approve, challenge, review, decline]"
# Laws that look true and are false, each for one reason; none may be proved
TRAPS = [
    ("a missing country is not DE", f"when: not (this.country == 'DE' else false) and this.country is missing\n  {ALL}"),
    ("a missing key has no count", f"when: not (card.own >= 1 else false)\n  {ALL}"),
    ("a feature without a key is missing", f"when: this.paid == 1 and card.share is missing\n  {ALL}"),
    ("a negative amount", f"when: card.total < this.amount\n  {ALL}"),
    ("an amount of 0 divides nothing", f"when: card.before <= 0 and card.rest is missing\n  {ALL}"),
    ("the divisor is missing", f"when: card.share is missing and this.card is not missing and this.paid != 0 else true\n  {ALL}"),
    ("a delayed window is no part of the hour", f"when: card.late > card.hour\n  {ALL}"),
    ("large items are left out of a sum", f"when: card.items != this.items\n  {ALL}"),
    ("a product beyond 10^15 is left out", f"when: card.product != this.amount * this.items\n  {ALL}"),
    ("the spread of one value is missing", f"when: card.own == 1 and card.spread is missing\n  {ALL}"),
    ("the second latest of one is missing", f"when: card.own == 1 and card.second is missing\n  {ALL}"),
    ("the newest is of one with a country", f"when: card.newest != this.country or (card.newest is not missing and this.country is missing)\n  {ALL}"),
    ("no country, no countries", f"when: card.own >= 1 and card.countries == 0\n  {ALL}"),
    ("the field of a condition is missing", f"when: card.own >= 1 and card.same is missing\n  {ALL}"),
    ("events of another type", f"when: card.others > card.day\n  {ALL}"),
    ("linked events are of other cards", f"when: card.linked > card.day + 1\n  {ALL}"),
    ("flags of two rules differ", "rule: also_flagged\n  hits: flagged"),
    ("the threshold is open", "when: this.amount >= 100\n  never: [approve]"),
    ("allow cancels review", "when: this.amount > 100\n  never: [approve]"),
    ("a shadow rule decides nothing", "when: this.items < 0\n  never: [approve]"),
    ("a rollout is for a part", "when: this.items > 1_000 and this.items <= 2_000 and not (this.country == 'DE' else false)\n  never: [approve]"),
    ("a rule expires", "when: this.items > 2_000\n  hits: past"),
    ("score at the threshold", "when: score >= 0.6\n  never: [review]"),
    ("score below the threshold", "when: score < 0.6\n  never: [approve]"),
    ("no score", "when: score is missing\n  never: [approve]"),
    ("the score declines", "when: score > 0.9\n  never: [decline]"),
    ("a list has any row", "when: this.device is not missing\n  never: [decline]"),
    ("a table has any row", f"when: tables.bins[this.country].country == 'DE'\n  {ALL}"),
    ("night", f"when: hour(this.at) >= 23\n  {ALL}"),
    ("sunday", f"when: weekday(this.at) == 6 and hour(this.at) == 0\n  {ALL}"),
    ("before 1970", f"when: hour(this.at) == 5 and this.at < time('1970-01-01T00:00:00Z')\n  {ALL}"),
    ("floats are rounded", f"when: card.scaled * 10.0 != this.ratio\n  {ALL}"),
    ("a half is not a whole", f"when: round(this.ratio, 0) != this.ratio\n  {ALL}"),
    ("an unknown function", f"when: lower(this.country) != this.country\n  {ALL}"),
    ("texts are trimmed to nothing", f"when: trim(this.country) == ''\n  {ALL}"),
    ("the mean is not the least", f"when: card.mean > card.least\n  {ALL}"),
    ("this is of another kind", f"when: card.own >= 1 and card.kinds < 1\n  {ALL}"),
    ("this links nothing without a device", f"when: card.own >= 1 and card.linked < 1\n  {ALL}"),
    ("missing or false", f"when: (this.country == 'DE' or this.kind == 'a') is missing\n  {ALL}"),
    ("beyond 128 bits", f"when: (this.items * this.items * this.items) is missing\n  {ALL}"),
    ("a small number is lost", f"when: this.ratio + 1.0 == 1.0 and this.ratio > 0.0\n  {ALL}"),
    ("the middle may be any", f"when: card.middle != card.mean\n  {ALL}"),
]  # fmt: skip
# Laws that hold although they look alike
SOUND = [
    ("the hour is in the day", f"when: card.hour > card.day\n  {ALL}"),
    ("this counts", f"when: card.own < 1\n  {ALL}"),
    ("a text is never empty", f"when: this.country == ''\n  {ALL}"),
    ("a choice is one of its words", f"when: this.kind != 'a' and this.kind != 'b'\n  {ALL}"),
    ("decline beats allow", "when: this.device in lists.bad\n  never: [approve, challenge, review]"),
    ("one rule implies the other", "rule: again\n  hits: first"),
    ("the score declines from its threshold", "when: score >= 0.92 and not (this.country == 'DE' else false)\n  never: [approve, challenge, review]"),
    ("the score reviews from its threshold", "when: score >= 0.6 and not (this.country == 'DE' else false)\n  never: [approve, challenge]"),
    ("the mean is between", f"when: card.mean * 1.001 + 0.001 < card.least and card.least >= 0\n  {ALL}"),
    ("at most as many countries as events", f"when: card.countries > card.own + card.day\n  {ALL}"),
    (
        "counts are never missing",
        f"when: this.card is not missing and not (card.own + card.day >= 1 else false)\n  {ALL}",
    ),
    ("an hour is below 24", f"when: hour(this.at) > 23 or hour(this.at) < 0\n  {ALL}"),
    ("the same call has the same value", f"when: lower(this.country) == 'de' and lower(this.country) != 'de'\n  {ALL}"),
    ("part of a product", f"when: this.items == 2 and this.amount * this.items != this.amount + this.amount\n  {ALL}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def traps() -> Definitions:
    return load_definitions(PROJECT).or_raise()


@pytest.mark.parametrize("why, text", one_in(4, TRAPS))
def test_a_law_that_only_looks_true_is_not_proved(traps, why, text):
    trap = law(f"on: payment\n  {text}", traps)
    found = prove(trap, traps, traps)
    assert found.answer == "refuted" or (found.answer == "unknown" and found.reason)


@pytest.mark.parametrize("why, text", SOUND)
def test_a_law_that_holds_is_proved(traps, why, text):
    assert prove(law(f"on: payment\n  {text}", traps), traps, traps).answer == "proved"


def test_a_proof_names_what_it_takes_for_granted(traps):
    fits = prove(law(f"on: payment\n  when: card.own >= 1 and card.total is missing\n  {ALL}", traps), traps, traps)
    assert (fits.answer, fits.reason) == ("proved", "Given that sums fit 64 bits.")
    silent = prove(law("on: payment\n  rule: again\n  hits: first", traps), traps, traps)
    assert (silent.answer, silent.reason) == ("proved", "Given that no rule is silenced.")
    assert prove(law("on: payment\n  rule: first\n  hits: first", traps), traps, traps).reason == ""


LOOSENS_NOTHING = "on: payment\n  draft: loosens_nothing"
CHANGES = [
    ("lists/bad.csv", "expires_at\n", "expires_at\nd1,,,\n", True),
    ("events.yaml", "device: { payment: device }", "device: { payment: card }", True),
    ("policy.yaml", "decline_at: 0.92", "decline_at: 0.91", False),
    ("policy.yaml", "decline_at: 0.92", "decline_at: 0.93", True),
    ("policy.yaml", "review_at: 0.60", "review_at: 0.61", True),
    ("policy.yaml", "}\n", "}\n  without_model: review\n", False),
    ("rules/a.yaml", "rollout: 50%", "rollout: 40%", True),
    ("rules/a.yaml", "2030", "2029", True),
    ("rules/a.yaml", "shadow: true", "shadow: false", False),
    ("features.yaml", "over 1h delayed", "over 2h delayed", False),
]


@pytest.mark.parametrize("file, old, new, loosens", CHANGES)
def test_a_change_that_loosens_is_not_proved(traps, file, old, new, loosens):
    """With the list, the active version has a row that the draft lacks."""
    changed = load_definitions({**PROJECT, file: PROJECT[file].replace(old, new, 1)}).or_raise()
    draft, active = (traps, changed) if file.startswith("lists/") else (changed, traps)
    assert (prove(law(LOOSENS_NOTHING, draft), draft, active).answer == "proved") is not loosens


def test_exploration_is_not_translated(traps):
    explore = "  explore: { share: 2%, at_most_a_day: 20, amount_at_most: 100.00, expires: 2027-12-31, seed: 2f1d0c5be49a77c1 }\n"
    definitions = load_definitions({**PROJECT, "policy.yaml": PROJECT["policy.yaml"] + explore}).or_raise()
    text = "on: payment\n  when: score > 0.95\n  never: [review]"
    assert prove(law(text, definitions), definitions, definitions).reason == "Not translated: explore in policy.yaml."


# A fault in the translation, and the law of which it makes another answer: a trap is proved, or a sound law is not
FAULTS = [
    ("terms", "return not (field.shape.is_optional", "return not (False", "a missing country is not DE"),
    ("terms", "value.present, *key)", "value.present)", "a feature without a key is missing"),
    ("terms", "z3.And(present, divisor != 0, result.present)", "z3.And(present, result.present)", "an amount of 0 divides nothing"),
    ("terms", "time % DAY_MS / HOUR_MS", "time % (DAY_MS - HOUR_MS) / HOUR_MS", "night"),
    ("terms", "+ 3) % 7", "+ 3) % 6", "sunday"),
    ("terms", "present = z3.Or(decides, z3.And([side.present for side in sides]))", "present = TRUE", "missing or false"),
    ("terms", "return z3.And(value >= WIDE_MIN, value <= WIDE_MAX)", "return TRUE", "beyond 128 bits"),
    ("terms", 'return [value != world.code("")]', "return []", "a text is never empty"),
    ("windows", "Fraction(1, 2**50)", "0", "a small number is lost"),
    ("windows", "counts.append(item.term(window.condition).is_true)", "pass", "this is of another kind"),
    ("windows", "counts.append(number.present)", "pass", "no country, no countries"),
    ("windows", '["number", "money"]', '["number", "money", "integer"]', "large items are left out of a sum"),
    ("windows", "window.delay_ms + (window.over_ms or INTEGER_MAX)", "window.over_ms or INTEGER_MAX", "a delayed window is no part of the hour"),
    ("windows", " and not (window.matching or window.via)", "", "this links nothing without a device"),
    ("windows", "return at.rule", 'return ""', "flags of two rules differ"),
    ("windows", "        return other\n\n", "        return Term(is_some, other.value)\n\n", "the second latest of one is missing"),
    ("windows", "count >= 0, count <= INTEGER_MAX", "count >= 0", "counts are never missing"),
    ("windows", "yield more >= 0", "yield more >= -1", "the hour is in the day"),
    ("proof", "if rule.is_shadow or rule.rollout >= 1:", "if True:", "a rollout is for a part"),
    ("proof", "return FALSE if rule.is_shadow", "return TRUE if rule.is_shadow", "a shadow rule decides nothing"),
    ("proof", "if rule.expires_ms is not None", "if False", "a rule expires"),
    ("proof", "score.value >= z3", "score.value > z3", "the score reviews from its threshold"),
    ("proof", "z3.RealVal(Fraction(cut))", "z3.RealVal(str(cut))", "the score reviews from its threshold"),
    ("proof", "effects[rule.effect].append", "effects.setdefault(rule.effect, []).clear() or effects[rule.effect].append", "decline beats allow"),
]  # fmt: skip


@pytest.mark.parametrize("module, old, new, why", one_in(3, FAULTS))
def test_a_fault_in_the_translation_changes_an_answer(traps, tmp_path, monkeypatch, module, old, new, why):
    faulty = tmp_path / "faulty"
    faulty.mkdir()
    for name in ("terms", "windows", "proof"):
        source = Path(proof.__file__).with_name(f"{name}.py").read_text()
        assert name != module or old in source
        source = source.replace(old, new, 1) if name == module else source
        (faulty / f"{name}.py").write_text(source.replace("shroff.services.laws", "faulty"))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "faulty"]:
        monkeypatch.delitem(sys.modules, name)
    faulty_proof = importlib.import_module("faulty.proof")
    text = dict(TRAPS + SOUND)[why]
    found = faulty_proof.prove(law(f"on: payment\n  {text}", traps), traps, traps)
    assert (found.answer == "proved") is (why in dict(TRAPS))
