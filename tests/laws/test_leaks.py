"""The laws of training sets: nothing is in one that could not be known; and the leak test finds what is planted."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import numpy as np
import pytest
from hypothesis import Phase, given, settings

from shroff.events.event import Event
from shroff.events.labels import LabelEvent, LogEvent
from shroff.language.values import DAY_MS, HOUR_MS
from shroff.log.columns.tables import Way
from shroff.log.state.feature_events import NumberedEvents, taken
from shroff.models.definitions import DailyCapacity, ModelInput, ModelSettings, Split
from shroff.models.evaluation.windows import Fold, FoldRows, in_window, known_rows, rows_of, windows_of
from shroff.models.sets import FRAUD, TrainingSet
from shroff.project.definitions import Definitions
from shroff.runtime.values import replace
from shroff.training.leak_test import CUT_AT_MOMENT, CUT_AT_ROW, LATER_LABELS, LeakReport, difference_of, leak_test
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import HistorySource
from tests.laws.projects import LATENESS_MS, START_MS, computing_project, histories, history_of, texts
from tests.support.effort import examples
from tests.support.modelled import inputs_of

# Each example makes several sets; without shrinking, as a set is made in some milliseconds.
LAW: Final = settings(max_examples=examples(40, usual=4), phases=[Phase.explicit, Phase.reuse, Phase.generate])
DAYS: Final = 40
FIRST_MS: Final = 1_772_323_200_000
END_MS: Final = FIRST_MS + DAYS * DAY_MS
DELAY_MS: Final = 3 * DAY_MS
FEATURES: Final = """
card:
  payments_7d: count(payment) over 7d
  frauds: count(label where label.verdict == 'fraud')
merchant:
  spent_2d: sum(payment.amount) over 2d including this
  fraud_share: merchant.frauds / count(payment) over 14d delayed 3d else 0
  frauds: count(label where label.verdict == 'fraud') over 14d
"""


def settings_of(definitions: Definitions, texts: list[str], split: Split, delay_ms: int) -> ModelSettings:
    inputs: tuple[ModelInput, ...] = inputs_of(definitions, "payment", texts)
    return ModelSettings("payment", inputs, delay_ms, "xgboost", split, DailyCapacity("card", 5), ())


def source(definitions: Definitions, history: list[LogEvent], size: int = 64) -> HistorySource:
    placed = list(enumerate(history, start=1))

    def batches() -> NumberedEvents:
        return (placed[first : first + size] for first in range(0, len(placed), size))

    return HistorySource(lambda: taken(batches(), definitions, "payment"), definitions.settings.lateness_ms)


# ---- generated projects and histories


def generated(features: str, seed: int, length: int) -> tuple[Definitions, ModelSettings, HistorySource, int]:
    definitions = computing_project(features)
    readable = [name for name, feature in definitions.features.items() if "payment" in feature.events]
    split = Split(train_ms=20, delay_ms=2, test_ms=10, folds=2)
    given = settings_of(definitions, [*readable, "payment.country", "payment.points", "payment.ratio"], split, 5)
    history = history_of(seed, length)
    as_of_ms = START_MS + Random(seed).choice([10, 40, 100, 5_000])
    return definitions, given, source(definitions, history, size=Random(seed).choice([1, 7, 64])), as_of_ms


@LAW
@given(texts(), histories())
def test_the_set_of_any_history_has_no_leak(made: tuple[str, str], plan: tuple[int, int]) -> None:
    definitions, wanted, given_source, as_of_ms = generated(made[0], *plan)
    report = leak_test(definitions, wanted, given_source, as_of_ms, sample=20)

    assert [part.difference for part in report.parts] == [None] * 3


@LAW
@given(texts(), histories())
def test_both_engines_make_the_same_set(made: tuple[str, str], plan: tuple[int, int]) -> None:
    definitions, wanted, given_source, as_of_ms = generated(made[0], *plan)
    batch, online = (
        build_set(definitions, wanted, given_source, as_of_ms, Way(engine)) for engine in ("batch", "online")
    )

    assert difference_of(batch, online) is None


@LAW
@given(texts(), histories())
def test_events_and_labels_after_the_moment_change_nothing(made: tuple[str, str], plan: tuple[int, int]) -> None:
    """By removing them one and all here, where the leak test is not asked."""
    definitions, wanted, given_source, as_of_ms = generated(made[0], *plan)
    history = [*enumerate(history_of(*plan), start=1)]
    before = [entry for entry in history if entry[1].time_ms <= as_of_ms]
    cut = HistorySource(lambda: taken(iter([before]), definitions, "payment"), LATENESS_MS)
    whole, alone = (build_set(definitions, wanted, item, as_of_ms) for item in (given_source, cut))

    assert difference_of(whole, alone) is None


# ---- planted leaks


def made_up() -> list[LogEvent]:
    """Forty days of payments with frauds whose labels come three days later, some of them sooner."""
    random = Random(7)
    events: list[LogEvent] = []
    for number in range(1_200):
        time_ms = FIRST_MS + number * (DAYS * DAY_MS) // 1_200
        card, merchant = f"c{random.randrange(200)}", f"m{random.randrange(10)}"
        values = (f"p{number}", time_ms, card, merchant, "x", random.randrange(10_000), 1, 500, 0.5, True, "pos", 5)
        event = Event("payment", f"p{number}", time_ms, values)
        events.append(event)
        if random.random() < 0.3:
            known_ms = time_ms + random.choice([HOUR_MS, DELAY_MS, DELAY_MS, 10 * DAY_MS])
            verdict = random.choice(["fraud", "fraud", "genuine"])
            said = (f"payment/p{number}", verdict, "chargeback", known_ms, None, None)
            events.append(LabelEvent(f"payment/p{number}#1", known_ms, said, event, changes=True))
    return sorted(events, key=lambda event: event.time_ms)


@pytest.fixture(scope="module")
def bank() -> tuple[Definitions, ModelSettings, HistorySource]:
    definitions = computing_project(FEATURES)
    split = Split(14 * DAY_MS, 3 * DAY_MS, 3 * DAY_MS, 3)
    names = ["payment.amount", *definitions.features]
    return definitions, settings_of(definitions, names, split, DELAY_MS), source(definitions, made_up())


Build = Callable[[Definitions, ModelSettings, HistorySource, int], TrainingSet]
RowsOf = Callable[[TrainingSet, Fold, int], FoldRows]


def report_of(
    bank: tuple[Definitions, ModelSettings, HistorySource], build: Build = build_set, rows: RowsOf = rows_of
) -> LeakReport:
    return leak_test(*bank, END_MS, sample=200, build=build, rows_of=rows)


def difference(report: LeakReport, name: str) -> str:
    (found,) = (part.difference for part in report.parts if part.name == name)

    assert found is not None
    return found


def test_an_honest_set_passes_every_part_and_each_had_something_to_compare(
    bank: tuple[Definitions, ModelSettings, HistorySource],
) -> None:
    report = report_of(bank)

    assert report.passed
    assert [part.name for part in report.parts] == [CUT_AT_MOMENT, CUT_AT_ROW, LATER_LABELS]
    assert all(part.compared > 20 for part in report.parts)


def test_a_feature_that_reads_its_own_label_fails_at_the_row(
    bank: tuple[Definitions, ModelSettings, HistorySource],
) -> None:
    def own_label_first(
        definitions: Definitions, wanted: ModelSettings, given: HistorySource, as_of_ms: int
    ) -> TrainingSet:
        """As a joiner would do it that puts each label before the event that it is about."""

        def history() -> NumberedEvents:
            labels = {
                item.of.id: item for item in made_up() if isinstance(item, LabelEvent) and item.time_ms <= as_of_ms
            }
            for place, event in enumerate(made_up(), start=1):
                if isinstance(event, Event):
                    early = labels.get(event.id)
                    moved = [] if early is None else [replace(early, time_ms=event.time_ms)]
                    yield [*((place, item) for item in moved), (place, event)]

        built = build_set(definitions, wanted, given, as_of_ms)
        leaking = replace(given, taken=lambda: taken(history(), definitions, wanted.event))
        return replace(built, inputs=build_set(definitions, wanted, leaking, as_of_ms).inputs)

    report = report_of(bank, own_label_first)

    assert report.failed == (CUT_AT_ROW,)
    assert "frauds of payment p" in difference(report, CUT_AT_ROW)


def test_a_label_that_is_known_later_fails_with_later_labels_changed(
    bank: tuple[Definitions, ModelSettings, HistorySource],
) -> None:
    def by_the_end(given: TrainingSet, fold: Fold, label_delay_ms: int) -> FoldRows:
        """Trained with all labels that the set has."""
        train = known_rows(given, fold.train_start_ms, fold.train_end_ms, given.as_of_ms, label_delay_ms)
        return replace(rows_of(given, fold, label_delay_ms), train=train)

    report = report_of(bank, rows=by_the_end)

    assert report.failed == (LATER_LABELS,)
    assert "change what trains the fold" in difference(report, LATER_LABELS)


def test_a_test_row_in_train_fails_at_the_moment(bank: tuple[Definitions, ModelSettings, HistorySource]) -> None:
    def with_a_test_row(given: TrainingSet, fold: Fold, label_delay_ms: int) -> FoldRows:
        found = rows_of(given, fold, label_delay_ms)
        tested = in_window(given, fold.test_start_ms, fold.test_end_ms)
        rows = np.append(found.train.rows, tested[0])
        verdicts = np.append(found.train.verdicts, np.int8(FRAUD))
        return replace(found, train=replace(found.train, rows=rows, verdicts=verdicts))

    report = report_of(bank, rows=with_a_test_row)

    assert report.failed == (CUT_AT_MOMENT,)
    assert "trains the fold whose test starts at" in difference(report, CUT_AT_MOMENT)


def test_a_builder_that_looks_past_the_moment_fails_there(
    bank: tuple[Definitions, ModelSettings, HistorySource],
) -> None:
    def all_of_it(definitions: Definitions, wanted: ModelSettings, given: HistorySource, as_of_ms: int) -> TrainingSet:
        return replace(build_set(definitions, wanted, given, END_MS), as_of_ms=as_of_ms)

    report = report_of(bank, all_of_it)

    assert CUT_AT_MOMENT in report.failed
    assert "the log cut there and the whole log differ" in difference(report, CUT_AT_MOMENT)


def test_a_builder_that_takes_labels_of_later_fails_with_later_labels_changed(
    bank: tuple[Definitions, ModelSettings, HistorySource],
) -> None:
    def later_verdicts(
        definitions: Definitions, wanted: ModelSettings, given: HistorySource, as_of_ms: int
    ) -> TrainingSet:
        found = build_set(definitions, wanted, given, as_of_ms)
        later = build_set(definitions, wanted, given, END_MS)
        rows = np.flatnonzero(np.isin(later.ids, found.ids))
        return replace(found, labels=later.take(rows).labels)

    report = report_of(bank, later_verdicts)

    assert LATER_LABELS in report.failed
    assert "change the set as of then" in difference(report, LATER_LABELS)


def test_the_sample_is_the_same_for_the_same_seed_and_all_rows_of_a_small_log(
    bank: tuple[Definitions, ModelSettings, HistorySource],
) -> None:
    definitions, wanted, given_source = bank
    report = leak_test(definitions, wanted, given_source, END_MS, sample=5_000)

    assert report.passed
    assert report.parts[1].compared == 1_200
    assert report == leak_test(definitions, wanted, given_source, END_MS, sample=5_000)


def test_a_set_of_nothing_has_no_leak(bank: tuple[Definitions, ModelSettings, HistorySource]) -> None:
    definitions, wanted, _ = bank
    report = leak_test(definitions, wanted, source(definitions, []), END_MS)

    assert report.passed


def test_folds_have_rows_in_every_window(bank: tuple[Definitions, ModelSettings, HistorySource]) -> None:
    definitions, wanted, given_source = bank
    whole = build_set(definitions, wanted, given_source, END_MS)
    folds = [rows_of(whole, fold, DELAY_MS) for fold in windows_of(wanted.split, DELAY_MS, END_MS)]

    assert [(len(item.train.rows) > 250, len(item.test.rows) > 5) for item in folds] == [(True, True)] * 3
