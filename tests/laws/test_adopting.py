"""The law of adoption: a version that takes over between two batches decides as after a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.events.labels import LogEvent
from shroff.log import version_switch
from shroff.log.state.fold import Folded, fold
from shroff.log.version_switch import Adoption, carried
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, load_definitions
from shroff.replay.compare import verify_online
from shroff.runtime.values import replace
from tests.laws.projects import (
    BLOCKED,
    EVENTS,
    PLACES,
    SHROFF,
    TABLES,
    histories,
    history_of,
    project,
    some_cases,
    some_texts,
    texts,
    versions,
)
from tests.laws.test_engines import NOW_MS, QUICK, Made, Texts, Version, everything, submission
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import definitions as small_project

Cuts = tuple[int, int]  # behind so many events the new version is begun to be prepared, and so many later it takes over
CUTS = st.tuples(st.integers(0, 40), st.integers(0, 20))

LISTS = """
- { id: now, on: payment, by: card, effect: review, when: this.country in lists.asked }
- { id: since, on: payment, by: card, effect: note, when: count(payment) over 20ms since flag including this >= 2 }
"""
SINCE = """
- { id: since, on: payment, by: card, effect: note, when: count(payment) since flag including this >= 2 }
"""
KEPT = """
card:
  listed: count(payment where payment.country in lists.kept) over 20ms
"""


def restarted(old: Definitions, new: Definitions, history: Sequence[LogEvent], cuts: Cuts) -> MemoryLog:
    """The log where the process stops and is started again with the new version."""
    log = MemoryLog()
    end = sum(cuts)
    for definitions, part in ((old, history[:end]), (new, history[end:])):
        Writer(log, definitions, lambda: NOW_MS).write([submission(event) for event in part])
    return log


def finished(adoption: Adoption, log: MemoryLog) -> Folded:
    return adoption.finish(log)


def adopted(
    old: Definitions,
    new: Definitions,
    history: Sequence[LogEvent],
    cuts: Cuts,
    finish: Callable[[Adoption, MemoryLog], Folded] = finished,
) -> MemoryLog:
    """The log where the new version is prepared on its own thread while the old one decides, and takes over."""
    store = MemoryStore()
    log = MemoryLog(store)
    writer = Writer(log, old, lambda: NOW_MS)
    begin, end = cuts[0], sum(cuts)
    writer.write([submission(event) for event in history[:begin]])
    adoption = Adoption(new, lambda: MemoryLog(store, read_only=True))
    for event in history[begin:end]:
        writer.write([submission(event)])
    writer.adopt(finish(adoption, log))
    writer.write([submission(event) for event in history[end:]])
    return log


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the thread has to catch up with these short histories, and something is left for the swap too."""
    monkeypatch.setattr(version_switch, "NEAR", 3)


@QUICK
@given(old=versions(), new=versions(), made=histories(), cuts=CUTS)
def test_a_version_that_takes_over_gives_the_bytes_of_a_restart(old: Version, new: Version, made: Made, cuts: Cuts):
    both, history = (project(*old), project(*new)), history_of(*made)

    log = adopted(*both, history, cuts)
    assert everything(log) == everything(restarted(*both, history, cuts))
    assert verify_online(log).first_mismatch is None


def test_the_law_catches_a_version_that_misses_the_last_event_before_it():
    def finish(adoption: Adoption, log: MemoryLog) -> Folded:
        adoption.stop()
        short = MemoryLog(MemoryStore(records=log.store.records[:-1], hits=log.store.hits))
        return fold(short, adoption.definitions)

    def law() -> None:
        for random, history in some_cases(500):
            both = project(*some_texts(random)), project(*some_texts(random))
            log = adopted(*both, history, (5, 3), finish)
            is_equal = everything(log) == everything(restarted(*both, history, (5, 3)))
            assert is_equal, "the logs differ"

    with pytest.raises(AssertionError, match="the logs differ"):
        law()


# ---- without a fold


def listing(asked: str, kept: str, features: str, policy: str = "", *, keeps: bool = False) -> Definitions:
    """A project whose rule asks one list about the event being decided, and whose feature may keep another."""
    files = {
        "shroff.yaml": SHROFF,
        "events.yaml": EVENTS + TABLES,
        "features.yaml": features + (KEPT if keeps else ""),
        "rules/lists.yaml": LISTS,
        "lists/blocked.csv": BLOCKED,  # what generated features ask
        "tables/places.csv": PLACES,
        "lists/asked.csv": f"value\n{asked}\n",
        "lists/kept.csv": f"value\n{kept}\n",
    }
    if policy:
        files["policy.yaml"] = policy
    return load_definitions(files).or_raise()


def swapped(old: Definitions, new: Definitions, history: Sequence[LogEvent], cuts: Cuts, *, must: bool) -> MemoryLog:
    """The log where the new version takes the state of the old one over."""
    log = MemoryLog()
    writer = Writer(log, old, lambda: NOW_MS)
    end = sum(cuts)
    for event in history[:end]:
        writer.write([submission(event)])
    folded = carried(writer.state, new)
    assert (folded is not None) == must
    if folded is None:
        folded = Adoption(new, lambda: MemoryLog(log.store, read_only=True)).finish(log)
    writer.adopt(folded)
    writer.write([submission(event) for event in history[end:]])
    return log


@QUICK
@given(found=texts(), made=histories(), cuts=CUTS)
def test_a_list_that_rules_ask_changes_without_a_fold(found: Texts, made: Made, cuts: Cuts):
    history = history_of(*made)
    old, new = (
        listing(asked, "x", found[0], policy)
        for asked, policy in (("x", ""), ("y", "payment:\n  without_model: rules\n"))
    )

    assert everything(swapped(old, new, history, cuts, must=True)) == everything(restarted(old, new, history, cuts))


@QUICK
@given(made=histories(), cuts=CUTS)
def test_a_list_that_a_feature_counts_by_needs_the_log(made: Made, cuts: Cuts):
    history = history_of(*made)
    old, new = (listing("x", kept, "", keeps=True) for kept in "xy")

    assert everything(swapped(old, new, history, cuts, must=False)) == everything(restarted(old, new, history, cuts))


SEEN = """
card:
  seen: count(payment) over 20ms
"""
MORE = """
- { id: more, on: payment, by: card, effect: review, when: card.seen >= 2 and this.country == 'DE' }
"""
NEW_WINDOW = """
- { id: more, on: payment, by: card, effect: review, when: count(payment) over 30ms >= 2 }
"""
SINCE_FLAG = """
- { id: more, on: payment, by: card, effect: review, when: count(payment) over 20ms since flag >= 2 }
"""


def ruled(rules: str) -> Definitions:
    """A project with these rules beside two, and a feature that they may read."""
    files = {"shroff.yaml": SHROFF, "events.yaml": EVENTS + TABLES, "features.yaml": SEEN}
    lists = {"lists/asked.csv": "value\nx\n", "lists/blocked.csv": BLOCKED, "tables/places.csv": PLACES}
    return load_definitions(files | lists | {"rules/lists.yaml": LISTS + rules}).or_raise()


@pytest.mark.parametrize(("rule", "must"), [(MORE, True), (NEW_WINDOW, False), (SINCE_FLAG, False)])
@QUICK
@given(made=histories(), cuts=CUTS, is_removed=st.booleans())
def test_a_rule_that_aggregates_nothing_new_comes_and_goes_without_a_fold(
    rule: str, must: bool, made: Made, cuts: Cuts, is_removed: bool
):
    history = history_of(*made)
    old, new = (ruled(rules) for rules in ((rule, "") if is_removed else ("", rule)))

    assert everything(swapped(old, new, history, cuts, must=must)) == everything(restarted(old, new, history, cuts))


def test_a_version_whose_other_rules_keep_more_state_is_not_the_same():
    plain, since = small_project(), small_project({"rules/large.yaml": SINCE})
    with_more = replace(plain, rules=(*plain.rules, *since.rules))

    assert not version_switch.means_the_same(plain, with_more)
    assert version_switch.means_the_same(plain, replace(plain, rules=(*plain.rules, *plain.rules)))
