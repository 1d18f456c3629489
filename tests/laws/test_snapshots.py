"""The law of snapshots: saved and taken up again at any place, state goes on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.events.labels import LogEvent
from shroff.features.frames import Codes
from shroff.features.online import group_keys
from shroff.features.online.engine import Online
from shroff.features.online.group_keys import Links
from shroff.features.online.value_codec import pack, unpack
from shroff.language.columns import values_of
from shroff.log.writer import Writer
from shroff.project.definitions import Definitions, computed_of
from shroff.replay.compare import verify_online
from shroff.streams.snapshots import Snapshots
from tests.laws.fallback import without_programs
from tests.laws.projects import (
    computing_project,
    histories,
    history_of,
    project,
    some_cases,
    some_texts,
    texts,
    versions,
)
from tests.laws.test_engines import (
    LAW,
    NOW_MS,
    QUICK,
    Made,
    Texts,
    Values,
    Version,
    by_definition,
    everything,
    shown,
    submission,
    written,
)
from tests.support.effort import examples, long_after
from tests.support.log_memory import MemoryLog, MemoryStore

Spoil = Callable[[list[bytes]], Iterable[bytes]]
Step = tuple[int, bool]  # so many events, and whether state is saved behind them
STEPS = st.lists(st.tuples(st.integers(1, 25), st.booleans()), min_size=1, max_size=6)


def by_restored(definitions: Definitions, history: Sequence[LogEvent], sizes: Sequence[int], spoil: Spoil) -> Values:
    """What engines give that take over from each other after every batch; `spoil` is done to the state between."""
    computed = computed_of(definitions)

    def engine() -> Online:
        return Online(definitions.events, computed, definitions.reference, definitions.settings.lateness_ms)

    online, found = engine(), Values()
    at = turn = 0
    while at < len(history):
        batch = history[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(batch), turn + 1
        rows: Values = [{} for _ in batch]
        for name, frame in online.compute(batch).items():
            columns = {feature: values_of(column) for feature, column in frame.computed.items()}
            for mine, row in enumerate(frame.rows.tolist()):
                rows[row] = shown(computed, name, {feature: values[mine] for feature, values in columns.items()})
        found += rows
        before, online = online, engine()
        assert online.layout() == before.layout()
        online.restore(iter(spoil(list(before.state()))))
    return found


@LAW
@given(found=texts(), made=histories(), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_an_engine_that_takes_up_saved_state_goes_on_with_equal_values(found: Texts, made: Made, sizes: list[int]):
    definitions, history = computing_project(*found), history_of(*made)
    truth = by_definition(definitions, history)

    assert by_restored(definitions, history, sizes, lambda parts: parts) == truth
    with without_programs():
        assert by_restored(definitions, history, sizes, lambda parts: parts) == truth


@QUICK
@given(version=versions(), made=histories(), steps=STEPS)
def test_a_writer_that_takes_up_a_snapshot_goes_on_with_equal_bytes(version: Version, made: Made, steps: list[Step]):
    definitions, history = project(*version), history_of(*made)

    with TemporaryDirectory() as folder:
        log = restarted([definitions], history, steps, Path(folder))

    assert everything(log) == everything(written(definitions, history))


@settings(QUICK, max_examples=examples(100, usual=6))
@given(old=versions(), new=versions(), made=histories(), steps=STEPS)
def test_snapshots_between_changes_of_version_change_nothing(old: Version, new: Version, made: Made, steps: list[Step]):
    both, history = [project(*old), project(*new)], history_of(*made)

    with TemporaryDirectory() as folder:
        log = restarted(both, history, steps, Path(folder))

    assert everything(log) == everything(restarted(both, history, steps, None))
    assert verify_online(log).first_mismatch is None


def restarted(
    versions: Sequence[Definitions], history: Sequence[LogEvent], steps: Sequence[Step], folder: Path | None
) -> MemoryLog:
    """The log after a new writer, of each version in turn, for each step, and one for the rest of the history."""
    store, at = MemoryStore(), 0
    snapshots = None if folder is None else Snapshots(folder)
    for turn, (count, is_saved) in enumerate([*steps, (len(history), False)]):
        log = MemoryLog(store)
        writer = Writer(log, versions[turn % len(versions)], lambda: NOW_MS, snapshots=snapshots)
        writer.write([submission(event) for event in history[at : at + count]])
        if is_saved and snapshots is not None:
            writer.snapshot()

        assert not [warning for warning in writer.warnings if "no longer the champion" not in warning]
        at += count
        log.close()
    return MemoryLog(store, read_only=True)


def spoiled_texts(parts: list[bytes]) -> list[bytes]:
    return [parts[0], pack(unpack(parts[1])[::-1]), *parts[2:]]


def spoiled_keys(parts: list[bytes]) -> list[bytes]:
    spaces = unpack(parts[0])[1]
    return [*parts[:2], *(pack(unpack(part)[::-1]) for part in parts[2 : 2 + spaces]), *parts[2 + spaces :]]


def spoiled_looks(parts: list[bytes]) -> list[bytes]:
    """The events that are kept in Python for conditions that look at each of them are lost."""
    first = 2 + unpack(parts[0])[1]
    nothing = pack([[], b"", b"", []])
    return [nothing if at >= first and part[:1] == b"\x94" else part for at, part in enumerate(parts)]


FORGETS_PAIRS = (
    "- { id: r, on: payment, by: card, effect: review,"
    " when: count(payment where payment.country == this.country) over 1s since flag including this >= 2 }\n"
)


@pytest.mark.parametrize("spoil", long_after(1, [spoiled_keys, spoiled_texts, spoiled_looks]))
def test_the_law_catches_state_that_is_not_whole(spoil: Spoil):
    with without_programs():
        must_be_caught(spoil, some_texts)


def test_the_law_catches_pairs_that_are_not_linked_again(monkeypatch):
    def only_new(self: Links) -> None:
        if self._known is not self.pairs.known:
            self._known = self.pairs.known
            self.pairs.known.given = self.pairs.known.given or []
        extend(self)

    extend = Links.extend

    def noted(*arguments: Codes) -> Links:
        links = Links(*arguments)
        links._known = links.pairs.known
        links.pairs.known.given = []
        return links

    monkeypatch.setattr(Links, "extend", only_new)
    monkeypatch.setattr(group_keys, "Links", noted)

    # Rare among others: a hit must find a pair that is not its own.
    must_be_caught(lambda parts: parts, lambda random: ("", FORGETS_PAIRS))


def must_be_caught(spoil: Spoil, found: Callable[[Random], Texts]) -> None:
    def law() -> None:
        for random, history in some_cases(2_000):
            definitions = computing_project(*found(random))
            is_equal = by_restored(definitions, history, [4], spoil) == by_definition(definitions, history)
            assert is_equal, "the engines differ"

    with pytest.raises(AssertionError, match="the engines differ"):
        law()
