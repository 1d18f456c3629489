"""The law of partitions: what they answer, joined, is to the bit what the batch engine gives of the whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shroff.errors import StateError, StorageError, UsageError
from shroff.events.labels import LogEvent
from shroff.features.batch.engine import BatchEngine
from shroff.features.batch.rounds import Rounds
from shroff.features.cluster import exchange, partitioned
from shroff.features.cluster.exchange import PartitionAnswers, Rows, parted, write_answers
from shroff.features.cluster.partitioned import Cluster, GroupPartition, Partitioned, Work, answer_part
from shroff.features.frames import frames_of
from shroff.features.online.window_state import HistoryPlan
from shroff.project.definitions import Definitions, computed_of
from shroff.runtime.values import replace
from tests.laws.projects import computing_project, histories, history_of, some_cases, some_texts, texts
from tests.laws.test_batch import SIZES, columns_of, parts_of
from tests.laws.test_engines import Made, Texts
from tests.support.backends import HereBackend
from tests.support.effort import examples, long_after

LAW = settings(max_examples=examples(60))
Found = dict[tuple[str, str], tuple[list[object], list[bool]]]


@pytest.fixture(autouse=True, scope="module")
def few_rows_at_a_time():
    """So that histories of some dozen events are written and read in many pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "ROWS", 7)
        patch.setattr(exchange, "ANSWER_ROWS", 3)
        patch.setattr(partitioned, "ROWS_TOGETHER", 5)
        yield


def bits_by(engine: Rounds[Any], definitions: Definitions, history: Sequence[LogEvent], sizes: Sequence[int]) -> Found:
    """Of each type and feature all values, floats as their 64 bits, and which are there."""
    found: Found = {}
    with closing(engine):
        for part in parts_of(history, sizes):
            frames = frames_of(part, definitions.events, definitions.reference)
            if sizes[0] % 2:
                frames = {name: columns_of(frame, definitions) for name, frame in frames.items()}
            engine.add(frames, len(part))
        for frames in engine.answers(10):
            for name, frame in frames.items():
                for feature, column in frame.computed.items():
                    values, valid = found.setdefault((name, feature), ([], []))
                    is_real = column.values.dtype == np.float64
                    values += (column.values.view(np.int64) if is_real else column.values).tolist()
                    valid += column.valid.tolist()
    return found


def whole(definitions: Definitions, history: Sequence[LogEvent], sizes: Sequence[int] = (16,)) -> Found:
    engine = BatchEngine(
        definitions.events, computed_of(definitions), definitions.reference, definitions.settings.lateness_ms, threads=1
    )
    return bits_by(engine, definitions, history, sizes)


def in_partitions(
    definitions: Definitions, history: Sequence[LogEvent], partitions: int = 3, sizes: Sequence[int] = (16,)
) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        engine = Partitioned(
            definitions.events,
            computed_of(definitions),
            definitions.reference,
            definitions.settings.lateness_ms,
            cluster=Cluster(HereBackend(), partitions),
            spill=Path(folder),
        )
        found = bits_by(engine, definitions, history, sizes)
        assert list(Path(folder).iterdir()) == []
        return found


@LAW
@given(found=texts(), made=histories(), sizes=SIZES, partitions=st.sampled_from([1, 2, 5]))
def test_partitions_and_the_batch_engine_agree_to_the_bit(found: Texts, made: Made, sizes: list[int], partitions: int):
    definitions, history = computing_project(*found), history_of(*made)

    assert in_partitions(definitions, history, partitions, sizes) == whole(definitions, history, sizes)


def every_row_asks_about_its_own_key(rows: Rows, partitions: int) -> list[Rows]:
    return parted(replace(rows, asks=np.where(rows.asks >= 0, rows.inserts, -1)), partitions)


def rows_go_round_whatever_their_key(rows: Rows, partitions: int) -> list[Rows]:
    parts = parted(replace(rows, inserts=rows.rows, asks=rows.rows), partitions)
    return [replace(part, inserts=np.zeros_like(part.rows), asks=np.zeros_like(part.rows)) for part in parts]


def who_asks_is_left_out_of_another_partition(rows: Rows, partitions: int) -> list[Rows]:
    return [part.take(np.flatnonzero(part.inserts >= 0)) for part in parted(rows, partitions)]


def times_are_those_of_other_rows(rows: Rows, partitions: int) -> list[Rows]:
    return [replace(part, times=part.times[::-1]) for part in parted(rows, partitions)]


@pytest.mark.parametrize(
    "broken",
    long_after(
        1,
        [
            every_row_asks_about_its_own_key,
            rows_go_round_whatever_their_key,
            who_asks_is_left_out_of_another_partition,
            times_are_those_of_other_rows,
        ],
    ),
)
def test_the_law_catches_a_shuffle_that_is_wrong(broken: Callable[..., list[Rows]], monkeypatch: pytest.MonkeyPatch):
    def law() -> None:
        for random, history in some_cases(500):
            definitions = computing_project(*some_texts(random))
            try:
                found_in_parts = in_partitions(definitions, history)
            except LookupError as error:  # a row stands where its columns are not: wrong, too
                raise AssertionError("they differ") from error
            assert found_in_parts == whole(definitions, history), "they differ"

    monkeypatch.setattr(exchange, "parted", broken)

    with pytest.raises(AssertionError, match="they differ"):
        law()


def test_many_events_of_hot_keys_and_stacked_features_agree():
    definitions = computing_project(
        "card:\n"
        "  n: count(payment) over 7ms\n"
        "  countries: distinct(payment.country) over 7ms\n"
        "  larger: count(payment where payment.amount > this.amount) over 7ms\n"
        "  before: count(payment where payment.country <= this.country) over 7ms\n"
        "  most: max(card.n of payment) over 20ms\n"
        "  median: quantile(card.most of payment, 0.5) over last 5\n"
        "merchant:\n"
        "  here: count(payment where payment.country == this.country) over 10ms delayed 3ms\n"
        "  frauds: count(label where label.verdict == 'fraud')\n"
    )
    history = history_of(1, 350)
    truth = whole(definitions, history)

    assert len(truth) > 8
    for partitions in (1, 2, 5):
        assert in_partitions(definitions, history, partitions, [100, 1]) == truth


def test_nothing_gives_nothing():
    assert in_partitions(computing_project("card: { n: count(payment) over 7ms }\n"), []) == {}


def test_a_key_is_in_one_partition_and_counts_on_there():
    #  row          0   1   2   3   4
    #  enters as    0   1   2   3   -
    #  asks about   0   1   4   -   1      row 2 stands where 2 is and where 4 is: both are even
    nothing: Any = np.zeros((0, 5), np.int64)
    rows = Rows(
        np.arange(5),
        np.arange(5) * 10,
        np.array([0, 1, 2, 3, -1]),
        np.array([0, 1, 4, -1, 1]),
        nothing,
        nothing.astype(np.uint8),
    )

    even, odd = parted(rows, 2)
    thirds = parted(rows, 3)

    assert (even.rows.tolist(), even.inserts.tolist(), even.asks.tolist()) == ([0, 2], [0, 1], [0, 2])
    assert (odd.rows.tolist(), odd.inserts.tolist(), odd.asks.tolist()) == ([1, 3, 4], [0, 1, -1], [0, -1, 0])
    assert [part.rows.tolist() for part in thirds] == [[0, 3], [1, 2, 4], [2]]
    assert (thirds[1].inserts.tolist(), thirds[1].asks.tolist()) == ([0, -1, -1], [0, 1, 0])
    assert (thirds[2].inserts.tolist(), thirds[2].asks.tolist()) == ([0], [-1])


class Forgetful(HereBackend):
    """Loses a partition."""

    def run(self, function, items):
        return map(function, items[1:])


def test_a_partition_that_is_not_answered_stops_everything(monkeypatch: pytest.MonkeyPatch):
    definitions = computing_project("card: { n: count(payment) over 7ms }\n")
    monkeypatch.setattr(HereBackend, "run", Forgetful.run)

    with pytest.raises(StateError, match="the cluster answered 2 of 3 partitions"):
        in_partitions(definitions, history_of(1, 50))


def test_a_process_of_another_version_refuses():
    with pytest.raises(StateError, match=r"was asked by 0\.0\.0: install the same version on every machine"):
        answer_part(GroupPartition("/", (), 0, 1, "0.0.0"))


def test_a_process_that_does_not_see_the_folder_says_so(tmp_path: Path):
    with pytest.raises(StateError, match=r"does not see .*gone: write --out to a folder that every machine sees"):
        answer_part(GroupPartition(str(tmp_path / "gone"), (), 0, 1, partitioned._VERSION))


def test_a_process_that_cannot_read_there_says_so(tmp_path: Path):
    with pytest.raises(StorageError, match=r"cannot read and write in .*No such file or directory; look for room"):
        answer_part(
            GroupPartition(str(tmp_path), (("group-0", Work(HistoryPlan((), ()), 0)),), 0, 1, partitioned._VERSION)
        )


def test_answers_that_the_asking_process_does_not_see_are_missed(tmp_path: Path):
    with pytest.raises(StateError, match="every process of the cluster must see this folder"):
        exchange.JoinedAnswers([tmp_path / "group-0.answers-0"])


def test_two_threads_answer_one_partition_at_the_same_time(tmp_path: Path):
    def overtaken() -> Iterator[PartitionAnswers]:
        write_answers(tmp_path / "answers", 1, iter(()))
        yield from ()

    write_answers(tmp_path / "answers", 1, overtaken())

    assert [path.name for path in tmp_path.iterdir()] == ["answers"]


def test_a_partition_that_is_too_large_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch):
    definitions = computing_project("card: { n: count(payment) over 7ms }\n")
    monkeypatch.setattr(partitioned, "ROWS_MAX", 10)

    with pytest.raises(UsageError, match=r"a partition has \d+ rows, and less than 10 can be answered"):
        in_partitions(definitions, history_of(1, 200))
