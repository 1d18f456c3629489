"""The law of released keys: a key without events in reach leaves memory, and what is computed stays as defined.

Keys leave and come back at the very edges of windows and lateness, so that codes go from one key to another; batches
of any size, by rows and by columns whose dictionaries stay, snapshots and scores lie between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from shroff.errors import StateError
from shroff.events.event import Event
from shroff.events.labels import LogEvent
from shroff.features.frames import Coded, Codes, ColumnFrame, Dictionary, Frame, frames_of
from shroff.features.naive import Naive
from shroff.features.online import key_space
from shroff.features.online.engine import Online
from shroff.features.online.group_keys import Links
from shroff.features.online.key_space import KeySpace
from shroff.features.online.scan_state import ScanState
from shroff.features.online.window_state import WindowState
from shroff.language.columns import column_of, values_of
from shroff.project.definitions import Definitions, computed_of
from shroff.replay.compare import verify_naive, verify_online
from tests.laws.fallback import without_programs
from tests.laws.projects import LATENESS_MS, SEEDS, START_MS, computing_project, event_of, label, project
from tests.laws.test_engines import LAW, QUICK, Values, one_by_one, shown, written

FEATURES = {
    "card": (
        "count(payment) over 7ms",
        "sum(payment.amount) over 20ms including this",
        "distinct(payment.country) over 7ms",
        "min(payment.amount) over 7ms delayed 3ms",
        "last(payment.country) over 20ms",
        "median(payment.points) over 7ms",
        "count(payment where payment.country == this.country) over 7ms",
        "count(payment where payment.points > this.points) over 7ms",
        "count(payment where payment.country <= this.country) over 7ms",
        "count(label) over 20ms of each source",
        "count(payment via payment.merchant) over 7ms",
        "sum(payment.points via payment.country up to 2) over 7ms including this",
        "count(payment via lower(payment.country) where payment.country <= this.country) over 7ms",
        "count(refund) over 7ms matching refund.merchant",
        "count(login)",
        "count(refund) over last 2",
    ),
    "merchant": ("count(payment) over 7ms", "max(refund.amount) over 7ms", "distinct(payment.card) over 20ms"),
    "card_country": ("count(login) over 7ms", "first(payment.merchant) over 7ms including this"),
    "region": ("count(payment) over 7ms",),
}
RULES = (
    "count(payment) over 7ms since flag including this >= 2",
    "count(payment where payment.country == this.country) over 7ms since flag including this >= 2",
    "count(payment where payment.merchant == this.merchant) over 20ms since flag >= 1",
    "first(payment.country) over 7ms since flag <= this.country",
)
EDGES_MS = (7, 20, 7 + LATENESS_MS, 10 + LATENESS_MS, 20 + LATENESS_MS)
STEPS_MS = (
    *(0, 0, 1, 2, -LATENESS_MS, -LATENESS_MS, -LATENESS_MS + 1),
    *(edge + more for edge in EDGES_MS for more in (-1, 0, 1)),
)
CARDS = [f"c{number}" for number in range(9)]
MERCHANTS = ["m", "n", "o", "c0", "c1"]
COUNTRIES = ["x", "y", "X", "z", None]


def texts_of(random: Random) -> tuple[str, str]:
    """Some features and rules whose windows end, and now and then one of a window that does not."""
    lines: dict[str, list[str]] = {}
    everything = [(entity, text) for entity, texts in FEATURES.items() for text in texts]
    for number, (entity, text) in enumerate(random.sample(everything, random.randint(1, 6))):
        lines.setdefault(entity, []).append(f'  f{number}: "{text}"\n')
    features = "".join(f"{entity}:\n{''.join(texts)}" for entity, texts in lines.items())
    rules = random.sample(RULES, random.randint(0, 2))
    return features, "".join(
        f'- {{ id: r{number}, on: payment, by: card, when: "{when}", effect: review }}\n'
        for number, when in enumerate(rules)
    )


def history_of(random: Random, length: int) -> list[LogEvent]:
    """Events of keys that come in turns, at the edges of windows and lateness."""
    history: list[LogEvent] = []
    decided: list[Event] = []
    watermark_ms = START_MS
    recent = ["c0"]
    for number in range(length):
        if decided and random.random() < 0.1:
            history.append(label(random, random.choice(decided[-9:]), number))
            continue
        time_ms = watermark_ms + random.choice(STEPS_MS)
        type_ = random.choice(["payment", "payment", "payment", "refund", "login"])
        made = event_of(random, type_, number, time_ms)
        card = random.choice([*CARDS, None, *recent[-3:] * 5])
        recent += [card] if card else []
        keys = [card, random.choice(MERCHANTS), random.choice(COUNTRIES)]
        event = Event(type_, made.id, time_ms, (*made.values[:2], *keys, *made.values[5:]))
        watermark_ms = max(watermark_ms, time_ms)
        history.append(event)
        if type_ != "login":
            decided.append(event)
    return history


def cases(count: int, first: int = 0) -> Iterator[tuple[Definitions, list[LogEvent], Random]]:
    for seed in range(first, first + count):
        random = Random(seed)
        yield computing_project(*texts_of(random)), history_of(random, 50), random


def by_definition(definitions: Definitions, history: Sequence[LogEvent]) -> Values:
    asked = computed_of(definitions)
    truth = Naive(definitions.events, asked, definitions.reference)
    return [shown(asked, event.type, truth.add(event)) for event in history]


class Columns:
    """Makes frames of batches whose texts are codes of dictionaries that stay from batch to batch."""

    def __init__(self) -> None:
        self._dictionaries: dict[str, tuple[Dictionary, dict[str, int]]] = {}

    def frames(self, batch: Sequence[LogEvent], definitions: Definitions) -> dict[str, Frame]:
        events, reference = definitions.events, definitions.reference
        frames = frames_of(batch, events, reference)
        for name, frame in frames.items():
            if name == "label":
                continue
            columns: dict[str, Any] = {}
            for at, field in enumerate(frame.type.fields):
                values = [event.values[at] for event in frame.events]
                columns[field.name] = (
                    self._coded(field.name, values) if field.type.is_text else column_of(values, field.type)
                )
            frames[name] = ColumnFrame(frame.type, columns, frame.times, frame.rows, events, reference)
        return frames

    def _coded(self, name: str, values: Sequence[Any]) -> Coded:
        dictionary, known = self._dictionaries.setdefault(name, (Dictionary(), {}))
        for value in values:
            if value is not None and value not in known:
                known[value] = len(dictionary.values)
                dictionary.values.append(value)
        return Coded(np.array([-1 if value is None else known[value] for value in values], np.int64), dictionary)


def by_engine(definitions: Definitions, history: Sequence[LogEvent], random: Random) -> tuple[Values, int]:
    """What the online engine gives in batches of random sizes and forms, and how many keys it released."""
    asked = computed_of(definitions)

    def make() -> Online:
        return Online(definitions.events, asked, definitions.reference, definitions.settings.lateness_ms)

    online, columns = make(), Columns()
    found: Values = []
    released = at = 0
    while at < len(history):
        batch = history[at : at + random.choice([1, 1, 2, 5])]
        at += len(batch)
        if online.takes_rows(batch) and random.random() < 0.5:
            if random.random() < 0.5:
                online.reads(batch[0].type)
                online.foresee(batch[0])
            found += one_by_one(online, asked, batch)
        else:
            is_coded = random.random() < 0.7
            frames = (
                columns.frames(batch, definitions)
                if is_coded
                else frames_of(batch, definitions.events, definitions.reference)
            )
            online.take(frames, len(batch))
            rows: Values = [{} for _ in batch]
            for name, frame in frames.items():
                computed = {feature: values_of(column) for feature, column in frame.computed.items()}
                for mine, row in enumerate(frame.rows.tolist()):
                    rows[row] = shown(asked, name, {feature: values[mine] for feature, values in computed.items()})
            found += rows
        released += sum(len(codes.known.free) for codes in online._keys.values())
        if random.random() < 0.2:
            state = [bytes(part) for part in online.state()]
            online = make()
            online.restore(iter(state))
            assert [bytes(part) for part in online.state()] == state
    return found, released


@LAW
@given(seed=SEEDS)
def test_values_are_as_defined_though_keys_leave_and_come_back(seed: int):
    random = Random(seed)
    definitions, history = computing_project(*texts_of(random)), history_of(random, 50)
    truth = by_definition(definitions, history)

    assert by_engine(definitions, history, random)[0] == truth
    with without_programs():
        assert by_engine(definitions, history, random)[0] == truth


def test_keys_are_released_in_most_histories():
    released = [by_engine(definitions, history, random)[1] for definitions, history, random in cases(12)]

    assert sum(count > 0 for count in released) > 8


@QUICK
@given(seed=SEEDS)
def test_a_log_of_keys_that_leave_verifies(seed: int):
    random = Random(seed)
    log = written(project(*texts_of(random)), history_of(random, 50), [random.randint(1, 30)])

    assert verify_online(log).first_mismatch is None
    assert verify_naive(log, lambda place: True).first_mismatch is None


def one_tick_early(trim: Callable[..., None]) -> Callable[..., None]:
    return lambda self, first, step, watermark_ms, held: trim(self, first, step, watermark_ms + 1, held)


def one_tick_early_in_python(trim: Callable[..., None]) -> Callable[..., None]:
    return lambda self, watermark_ms, keys: trim(self, watermark_ms + 1, keys)


def of_coded_without_generations(of_coded: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, coded: self._translated.of(coded, self.of)


def forgets_the_chain(self: Links, pair: int) -> None:
    self.last[self.keys.known[self.pairs.values[pair][0]]] = -1


FAULTS = [  # with the seed of the first history that shows each
    pytest.param(WindowState, "trim", one_tick_early, 20, id="events leave one tick early"),
    pytest.param(ScanState, "trim", one_tick_early_in_python, 356, id="events in Python leave one tick early"),
    pytest.param(KeySpace, "_is_held", lambda _: lambda self, code: False, 123, id="Python states hold nothing"),
    pytest.param(Links, "remove", lambda _: forgets_the_chain, 62, id="chains lose other pairs"),
    pytest.param(Codes, "of_coded", of_coded_without_generations, 0, id="columns keep released codes"),
]


@pytest.mark.parametrize("owner, name, fault, first", FAULTS)
def test_the_law_catches(owner: Any, name: str, fault: Callable[..., Any], first: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(owner, name, fault(getattr(owner, name)))

    def is_wrong(definitions: Definitions, history: Sequence[LogEvent], random: Random) -> bool:
        try:
            return by_engine(definitions, history, random)[0] != by_definition(definitions, history)
        except (IndexError, KeyError, TypeError, StateError, AssertionError):
            return True

    assert any(is_wrong(*case) for case in cases(400, first))


def test_a_state_that_holds_a_key_keeps_its_code(monkeypatch: pytest.MonkeyPatch):
    """A space that forgets to ask one of its histories must not pass."""

    def visit(self: KeySpace, rows: int, watermark_ms: int) -> None:
        self.histories, kept = self.histories[:1], self.histories
        asked(self, rows, watermark_ms)
        self.histories = kept

    asked = KeySpace.visit
    monkeypatch.setattr(key_space.KeySpace, "visit", visit)

    assert any(by_engine(*case)[0] != by_definition(*case[:2]) for case in cases(400))


@pytest.mark.parametrize("size", [1, 64])
def test_memory_is_flat_where_each_key_comes_once(size: int):
    definitions = computing_project("card:\n  n: count(payment) over 50ms\n  d: distinct(payment.country) over 20ms\n")
    online = Online(definitions.events, computed_of(definitions), definitions.reference, LATENESS_MS)
    history = [
        Event("payment", f"e{at}", START_MS + at, (f"e{at}", START_MS + at, f"c{at}", *[None] * 9))
        for at in range(4_096)
    ]
    sizes: list[int] = []
    for at in range(0, len(history), size):
        batch = history[at : at + size]
        if online.takes_rows(batch):
            for event in batch:
                online.reads(event.type)
            online.few(batch)
        else:
            online.compute(batch)
        if at in (1_024, 2_048, len(history) - size):
            sizes.append(sum(group.memory_bytes for group in online.groups))
    (codes,) = online._keys.values()

    assert len(codes.values) <= 1.3 * (50 + LATENESS_MS) + 2 * size
    assert sizes[0] == sizes[1] == sizes[2]
