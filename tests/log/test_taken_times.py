"""Files without repeated ids are taken by their times alone: the same events are too late, and the same count."""

from __future__ import annotations

import numpy as np
import pytest

from shroff.log.columns.ids import take_events, take_times


@pytest.mark.parametrize("seed", range(12))
def test_times_alone_are_taken_as_events_whose_ids_are_all_new(seed):
    draw = np.random.default_rng(seed)
    count = int(draw.integers(1, 60))
    times = draw.integers(-50 if seed % 2 else 1, 200, count)
    ids = np.stack([np.arange(1, count + 1)] * 2, axis=1).astype(np.uint64)
    by_times, by_ids = np.zeros(3, np.int64), np.zeros(3, np.int64)
    fates_by_times, fates_by_ids = np.full(count, 9, np.uint8), np.full(count, 9, np.uint8)
    take_times(times, by_times, 30, fates_by_times)
    take_events(ids, times, np.zeros((128, 2), np.uint64), by_ids, 30, fates_by_ids)

    assert fates_by_times.tolist() == fates_by_ids.tolist()
    assert by_times.tolist() == by_ids.tolist()
