"""The laws of backtests.

What a project is said to decide with a draft and without it, a fresh ingest of the same log decides, with lists, tables
and models as of each event; and a draft that never hits changes nothing, whatever else changed.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shroff.backtest import engine as backtest_engine
from shroff.backtest import outcomes as backtest_judged
from shroff.backtest import plan as backtest_plan
from shroff.backtest.engine import RuleMatches
from shroff.backtest.outcomes import JudgedRange, judge
from shroff.backtest.plan import DraftComparison, Stretch, computations, kept_rules, versions_of
from shroff.engine.exploration import LET_THROUGH
from shroff.events.labels import LogEvent
from shroff.language.row import Reference
from shroff.log.columns.read_lines import ReadLines
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.draft_overlay import DraftFile
from shroff.project.policy import OUTCOMES
from shroff.project.scoring import LoadModel
from shroff.runtime.values import replace
from tests.laws.projects import (
    BLOCKED,
    EVENTS,
    OTHER_FILES,
    PLACES,
    SEEDS,
    SHROFF,
    TABLES,
    histories,
    history_of,
    text_of,
    texts,
)
from tests.laws.test_engines import NOW_MS, Made, Texts, in_disorder, submission
from tests.laws.test_scored_fold import MADE_OF, World
from tests.support.effort import examples, long_after
from tests.support.linear import registry
from tests.support.log_memory import MemoryLog, MemoryStore

LAW = settings(max_examples=examples(100, usual=7), phases=[Phase.explicit, Phase.reuse, Phase.generate])
CHANGED = ("lists/blocked.csv", "lists/silence.r0.csv", "tables/places.csv", "policy.yaml")
WITHOUT_MODEL = "payment: { score: { review_at: 0.5 }, without_model: review }\n"
CUTS = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60))  # where versions and the draft begin
Seeds = tuple[list[tuple[Texts, int]], Texts, bool, Made, tuple[int, int, int], int]
Parts = Sequence[tuple[Definitions, bool, Sequence[LogEvent]]]
Outcomes = dict[tuple[str, str], str]
Hits = set[tuple[str, str, bool]]


class Drawn(NamedTuple):
    """A history with the versions that decided it, in turn, and a draft."""

    versions: Sequence[Definitions]
    base: Definitions
    draft: Definitions
    history: Sequence[LogEvent]
    cuts: tuple[int, int, int]
    taken: int  # the part that is only taken
    load_model: LoadModel | None = None


def files_of(found: Texts, seed: int) -> dict[str, str]:
    """A project of the generated kind whose events and lateness are those of all others."""
    features, rules = found
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": features}
    files |= {"lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES}
    files |= {"rules/r.yaml": rules} if rules else {}
    random, others = Random(seed), {**OTHER_FILES, "policy.yaml": (WITHOUT_MODEL,)}
    return files | {name: random.choice(others[name]) for name in CHANGED if seed and random.random() < 0.4}


def draft_of(found: Texts) -> list[DraftFile]:
    """A draft whose features are others than those of the project, and whose rules take the place of some."""
    features, rules = (re.sub(r"\bf(\d)\b", r"g\1", text) for text in found)
    files = [DraftFile("features.yaml", "drafts/features.yaml", features)]
    return [*files, DraftFile("rules/", "drafts/rules.yaml", rules)] if rules else files


WITH_RULES = st.builds(
    text_of, st.lists(SEEDS, min_size=1, max_size=4), st.lists(SEEDS, min_size=1, max_size=4, unique=True)
)
DRAWN = st.tuples(
    st.lists(st.tuples(texts() | WITH_RULES, st.just(0) | SEEDS), min_size=1, max_size=2),
    WITH_RULES,
    st.booleans(),
    histories(),
    CUTS,
    st.integers(0, 4),
)


def made_by(number: int) -> Seeds:
    """The same by a number alone: what hypothesis draws depends on the modules that are loaded, too."""
    random = Random(number)

    def seeds(least: int, most: int) -> list[int]:
        return [random.getrandbits(32) for _ in range(random.randint(least, most))]

    def texts_of(rules: int) -> Texts:
        return text_of(seeds(1, 6 - 2 * rules), seeds(rules, 2 + 2 * rules))

    versions = [
        (texts_of(random.randrange(2)), random.choice([0, random.getrandbits(32)])) for _ in range(random.randint(1, 2))
    ]
    cuts = random.randrange(31), random.randrange(31), random.randrange(61)
    history = random.getrandbits(32), random.randint(20, 60)
    return versions, texts_of(1), random.random() < 0.5, history, cuts, random.randrange(5)


def drawn(made: Seeds) -> Drawn:
    versions, change, is_whole, history, cuts, taken = made
    if versions[-1][1] % 2:  # versions that differ in lists, tables and thresholds alone
        versions = [(versions[0][0], seed) for _, seed in versions]
    first = files_of(*versions[-1])
    draft = load_definitions(
        files_of(change, versions[-1][1]) if is_whole else first, draft=() if is_whole else draft_of(change)
    )
    decided = [load_definitions(files_of(*version)).or_raise() for version in versions]
    base = load_definitions(first).or_raise()
    return Drawn(decided, base, draft.or_raise(), in_disorder(history_of(*history), Random(history[0])), cuts, taken)


def as_then(project: Definitions, base: Definitions, version: Definitions) -> Definitions:
    """A project with the lists and tables of a version, and with its models where those are not the project's own."""
    lists = {name: version.reference.lists.get(name, {}) for name in project.reference.lists}
    scoring = version.scoring if project.scoring == base.scoring else project.scoring
    return replace(project, reference=Reference(lists, version.reference.tables), scoring=scoring)


def parts_of(seeded: Drawn) -> tuple[Parts, Parts, Parts]:
    """The history in the parts that were decided alike: as it was, and from a place on with the draft and without."""
    ends = sorted({0, seeded.cuts[0], sum(seeded.cuts[:2]), seeded.cuts[2], len(seeded.history)})
    was: list[tuple[Definitions, bool, Sequence[LogEvent]]] = []
    with_draft = []
    without = []
    for number, (start, end) in enumerate(pairwise(ends)):
        events = seeded.history[start:end]
        version = seeded.versions[0] if start < seeded.cuts[0] else seeded.versions[-1]
        decides = number != seeded.taken
        was.append((version, decides, events))
        is_judged = start >= seeded.cuts[2]
        for found, side in ((with_draft, seeded.draft), (without, seeded.base)):
            then = as_then(side, seeded.base, version) if is_judged else version
            found.append((then, decides or is_judged, events))
    return was, with_draft, without


def written(parts: Parts) -> tuple[MemoryLog, list[int]]:
    """The log of some parts, and its last place behind each."""
    store = MemoryStore()
    ends = []
    for definitions, decides, events in parts:
        with closing(MemoryLog(store)) as log:
            Writer(log, definitions, lambda: NOW_MS).write([submission(event) for event in events], decide=decides)
        ends.append(len(store.records))
    return MemoryLog(store, read_only=True), ends


def begins_behind(seeded: Drawn, parts: Parts, ends: list[int]) -> int:
    """The place behind which the draft is in force."""
    taken = 0
    for (_, _, events), end in zip(parts, [0, *ends], strict=False):
        if taken >= seeded.cuts[2]:
            return end
        taken += len(events)
    return ends[-1] if ends else 0


def told(log: MemoryLog, seeded: Drawn, after: int) -> tuple[tuple[Outcomes, Hits], Outcomes]:
    """What a backtest says of each event behind a place: with the draft, and without it."""
    outcomes: Outcomes = {}
    without: Outcomes = {}
    hits: Hits = set()
    base = DraftComparison(seeded.base, seeded.load_model)
    verdicts = judge(log, seeded.draft, JudgedRange(after, log.last_seq(), NOW_MS), how=base)
    for judged in verdicts.types.values():
        ids = judged.ids.to_pylist()
        outcomes |= {(judged.event, id_): OUTCOMES[new] for id_, new in zip(ids, judged.new.tolist(), strict=True)}
        without |= {(judged.event, id_): OUTCOMES[old] for id_, old in zip(ids, judged.old.tolist(), strict=True)}
        hits |= {(f"{judged.event}/{ids[row]}", LET_THROUGH, True) for row in judged.explored.tolist()}
    for rows in (*verdicts.types.values(), *verdicts.others.values()):
        ids = rows.ids.to_pylist()
        for rule, found in rows.hits.items():
            named = zip(found.rows.tolist(), found.effective.tolist(), strict=True)
            hits |= {(f"{rows.event}/{ids[row]}", rule, effective) for row, effective in named}
    return (outcomes, hits), without


def decided(log: MemoryLog, ids: set[tuple[str, str]]) -> tuple[Outcomes, Hits]:
    """The same as a log has it, of the events of these ids."""
    outcomes = {(row.event, row.id): row.outcome for rows in log.decisions.after() for row in rows}
    named = {
        record.seq: (record.type, record.id)
        for records in log.read()
        for record in records
        if (record.type, record.id) in ids
    }
    found = [row for rows in log.hits.after() for row in rows if row.seq in named]
    hits = {("/".join(named[row.seq]), row.rule, not row.shadow) for row in found}
    return {event: outcome for event, outcome in outcomes.items() if event in ids}, hits


def check(seeded: Drawn) -> None:
    was, with_draft, without = parts_of(seeded)
    log, ends = written(was)
    after = begins_behind(seeded, was, ends)
    found, found_without = told(log, seeded, after)
    concerned = {
        (record.type, record.id) for records in log.read(after) for record in records if record.kind == "event"
    }

    outcomes, hits = decided(written(with_draft)[0], concerned)
    arms = {experiment.id for experiment in seeded.draft.experiments}
    of_rules = {hit for hit in hits if hit[1] not in arms}
    assert found == (outcomes, of_rules), "the backtest says something else"
    assert found_without == decided(written(without)[0], concerned)[0], "it says something else of the project without"


@LAW
@given(made=DRAWN)
def test_a_backtest_says_what_a_fresh_ingest_decides(made: Seeds):
    check(drawn(made))


@LAW
@given(features=MADE_OF, rules=MADE_OF, seeds=st.tuples(SEEDS, SEEDS), made=histories(), cut=st.integers(0, 40))
def test_so_it_does_for_a_draft_with_another_model(
    features: list[int], rules: list[int], seeds: tuple[int, int], made: Made, cut: int
):
    with TemporaryDirectory() as folder:
        world = World(registry(Path(folder)), features, rules)
        was, draft = (world.version(seed) for seed in seeds)
        check(Drawn([was], was, draft, history_of(*made), (0, 0, cut), -1, world.models.load))


def test_the_law_catches_scores_that_are_not_looked_at(monkeypatch: pytest.MonkeyPatch):
    def without(old: Callable[..., Any]) -> Callable[..., Any]:
        return lambda hits, rules, scores, policy: old(hits, rules, np.full(len(scores), np.nan), policy)

    monkeypatch.setattr(backtest_judged, "outcomes_by_columns", without(backtest_judged.outcomes_by_columns))
    with TemporaryDirectory() as folder:
        world = World(registry(Path(folder)), [1, 2], [1])
        drawn_by_model = [
            Drawn([world.version(5)], world.version(5), world.version(seed), history_of(seed, 60), (0, 0, 0), -1)
            for seed in range(1, 20)
        ]

        with pytest.raises(AssertionError, match="the backtest says something else"):
            deque(map(check, drawn_by_model), 0)


def hits_of_the_past(old: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, first, count, after, upto: old(self, first, count, after, upto) | True


# What is broken, how, and the number of a history that shows it. Where the generator has changed, one soon after does.
BREAKS = [
    pytest.param(
        "BacktestEngine._past_of", lambda old: lambda self, piece, after: None, 15, id="what was only taken is decided"
    ),
    pytest.param("backtest_plan._is_same", lambda old: lambda *_, **__: True, 3, id="a rule of that id is kept"),
    pytest.param(
        "BacktestEngine._hits_of",
        lambda old: lambda self, rule, seqs: all_of(old(self, rule, seqs)),
        2,
        id="shadow has effect",
    ),
    pytest.param("_Gathered.decided_in", hits_of_the_past, 3, id="hits of the past count"),
    pytest.param(
        "ReadLines._values_of", lambda old: lambda *given: without_signs(*old(*given)), 55, id="amounts are read wrong"
    ),
]


@pytest.mark.parametrize("name, broken, first", long_after(2, BREAKS))
def test_the_law_catches_a_backtest_that_is_wrong(name: str, broken: Any, first: int, monkeypatch: pytest.MonkeyPatch):
    owner, _, attribute = name.rpartition(".")
    modules = {"backtest_plan": backtest_plan, "ReadLines": ReadLines}
    place = modules.get(owner) or getattr(backtest_engine, owner)
    monkeypatch.setattr(place, attribute, broken(getattr(place, attribute)))

    with pytest.raises(AssertionError, match="the backtest says something else"):
        deque((check(drawn(made_by(number))) for number in range(first, first + 100)), 0)


def all_of(found: RuleMatches) -> RuleMatches:
    return RuleMatches(found.rows, np.ones(len(found.rows), np.bool_))


def without_signs(values: Any, valid: Any) -> Any:
    return (np.abs(values) if values.dtype == np.int64 else values), valid


NEVER = """- id: {}
  on: payment
  by: card
  effect: decline
  when: payment.points > 0 and payment.points < 0 and count(payment) over 7d since flag including this > 0
"""


def check_nothing_changes(seeded: Drawn) -> None:
    """A draft that never hits, and one that is a copy, after rows of lists, thresholds and rules have changed."""
    log, _ = written(parts_of(seeded)[0])
    files = dict(seeded.base.files)
    rules = files.get("rules/r.yaml", "")
    for text in filter(None, [NEVER.format("never"), rules]):
        draft = load_definitions(files, draft=[DraftFile("rules/", "drafts/r.yaml", text)]).or_raise()
        span = JudgedRange(0, log.last_seq(), NOW_MS)
        for judged in judge(log, draft, span, how=DraftComparison(seeded.base)).types.values():
            assert judged.new.tolist() == judged.old.tolist(), "the draft is charged with what is not its own"


@LAW
@given(made=DRAWN)
def test_a_draft_that_never_hits_or_is_a_copy_changes_nothing(made: Seeds):
    check_nothing_changes(drawn(made))


def test_generated_drafts_keep_rules_and_change_decisions():
    met: Counter[str] = Counter()
    for number in range(20):
        (first, *_), *others = made_by(number)
        made = drawn(([first, (first[0], 2 * number + 1)], *others))
        made = made._replace(cuts=(12, 9, number % 9))  # so that two versions decided what is judged
        was, _, _ = parts_of(made)
        log, ends = written(was)
        after = begins_behind(made, was, ends)
        versions = versions_of(log, made.draft, DraftComparison(made.base), after, log.last_seq())
        kept = kept_rules(made.draft, [version.then for version in versions])
        passes = computations(
            [Stretch(version.start, version.end, version.draft) for version in versions], kept, has_scores=True
        )
        met["kept"] += bool(kept)
        met["by columns"] += any(column.rule for work in passes for column in work.by_columns)
        met["by rows"] += any(row.rule for work in passes for row in work.by_rows)
        met["lists as of then"] += any(len(work.stretches) > 1 for work in passes)
        met["several passes"] += len(passes) > 1
        met["past"] += 0 < after < log.last_seq()
        verdicts = judge(log, made.draft, JudgedRange(after, log.last_seq(), NOW_MS), how=DraftComparison(made.base))
        met["changed"] += any((verdict.old != verdict.new).any() for verdict in verdicts.types.values())
        recorded = [(verdict.recorded, verdict.old) for verdict in verdicts.types.values()]
        met["other reasons"] += any(((then >= 0) & (then != old)).any() for then, old in recorded)
        met["undecided"] += any((then < 0).any() for then, _ in recorded)

    assert len(met) == 9
    assert min(met.values()) >= 1, met
