"""Queues on disk: what comes out is what went in, to the bit, and the dictionaries are the same ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shroff.features.batch.columns import Chunk, ChunkFrame
from shroff.features.cluster.spilled import Spilled
from shroff.features.frames import Coded, Dictionary
from shroff.language.columns import Column


@pytest.fixture
def queue(tmp_path: Path):
    made = Spilled(tmp_path)
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_numbers_come_back_with_their_bits_kinds_and_shapes(queue: Spilled):
    given = (
        np.array([0.0, -0.0, np.nan, np.inf]),
        np.arange(6, dtype=np.int32).reshape(2, 3)[:, ::2],
        np.array([True, False]),
        np.zeros(0, np.int64),
        np.array([2**80, None], object),
        "a word",
        None,
    )

    queue.append(given)
    found = queue.popleft()

    for array, other in zip(given[:4], found[:4], strict=True):
        assert (array.dtype, array.shape, array.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert found[4].tolist() == [2**80, None]
    assert found[5:] == ("a word", None)


def test_a_stretch_keeps_the_dictionary_that_still_grows(queue: Spilled):
    texts = Dictionary(["x"])
    columns = {"amount": Column(np.array([1, 2]), np.array([True, False])), "card": Coded(np.array([0, 1]), texts)}
    queue.append(Chunk(2, np.array([5, 6]), {"payment": ChunkFrame(None, columns, {}, {}, {})}))
    texts.values.append("y")

    frame = queue.popleft().frames["payment"]

    assert frame.rows is None
    assert frame.columns["card"].dictionary is texts
    assert frame.columns["card"].column().values.tolist() == ["x", "y"]
    assert frame.columns["amount"].valid.tolist() == [True, False]


def test_items_come_in_their_order_and_the_first_can_be_looked_at(queue: Spilled):
    for number in range(3):
        queue.append((np.full(4, number),))

    assert len(queue) == 3
    assert queue[0][0].tolist() == [0] * 4
    assert [queue.popleft()[0][0] for _ in range(2)] == [0, 1]
    queue.append((np.full(1, 9),))
    assert [queue.popleft()[0][0] for _ in range(2)] == [2, 9]
    assert len(queue) == 0
