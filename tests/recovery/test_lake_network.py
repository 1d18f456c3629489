"""A lake in a bucket behind a network that breaks at random while it is written: each row once after."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path

import pytest

from shroff.errors import TransientError
from shroff.lake.check import check
from shroff.lake.reader import LakeReader
from shroff.lake.writer import LakeWriter
from shroff.streams.lake import Objects, RetriedObjects
from shroff.streams.lake_manifest import read_state
from tests.contracts.test_lake_places import bucket_of, own
from tests.contracts.test_lake_written import LAYOUT, log_of
from tests.support.effort import long_after, times
from tests.support.log_memory import MemoryLog
from tests.support.projects import NOW_MS
from tools.servers.proxy import Proxy

FAULTS = times(8, 20)
LONGEST_S = 600.0
pytestmark = pytest.mark.slow


def through(place: str, prefix: str, request: pytest.FixtureRequest) -> tuple[Callable[[str], Objects], str]:
    """What opens the lake at an address, and the server's own address."""
    server = request.getfixturevalue(place)
    bucket = bucket_of(server)
    return lambda at: bucket(prefix, endpoint=at), server.address


def breaking(
    proxy: Proxy, chance: random.Random, struck: list[str], tried_again: list[float], is_over: threading.Event
) -> None:
    """Break the network in one way after the other, until some of it has hit a request that was on its way."""
    while not is_over.is_set() and (len(struck) < FAULTS or not tried_again):
        time.sleep(chance.uniform(0.02, 0.3))
        what = chance.choice(["cut", "refuse", "swallow up", "swallow down", "hold"])
        struck.append(what)
        with proxy.broken():
            if what == "cut":
                proxy.cut()
            elif what == "refuse":
                proxy.refuse()
                proxy.cut()
            elif what == "hold":
                proxy.hold()
            else:
                proxy.swallow("up" if what == "swallow up" else "down")
            time.sleep(chance.uniform(0.05, 0.4))


# One client reaches both.
@pytest.mark.parametrize("place", long_after(1, ["s3", "gcs"]))
def test_a_lake_behind_a_network_that_breaks_has_each_row_once(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
):
    make, address = through(place, f"broken/{own(tmp_path)}", request)
    store, chance, struck, is_over = log_of(40), random.Random(3), list[str](), threading.Event()
    log = MemoryLog(store, read_only=True)
    started, tried_again = time.monotonic(), list[float]()
    with Proxy(int(address.rpartition(":")[2])) as proxy:
        striking = threading.Thread(target=breaking, args=(proxy, chance, struck, tried_again, is_over))
        striking.start()
        state = read_state(RetriedObjects(make(address)))
        while (state.upto < log.last_seq() or striking.is_alive()) and time.monotonic() - started < LONGEST_S:
            objects = RetriedObjects(make(f"http://{proxy.address}"), tried_again.append)
            writer = LakeWriter(objects, log, lambda: NOW_MS, places_max=1)
            with suppress(TransientError):
                writer.write(LAYOUT)
                writer.compact(files_min=2, target_bytes=1 << 20, grace_ms=0)
            state = read_state(RetriedObjects(make(address)))
        is_over.set()
        striking.join()
    direct = RetriedObjects(make(address))
    reader = LakeReader(direct)

    assert len(struck) >= FAULTS
    assert len(tried_again) > 0
    assert (state.upto, check(direct, state).problems) == (log.last_seq(), [])
    assert list(chain(*reader.records())) == list(chain(*log.read()))
    assert list(chain(*reader.decisions())) == list(chain(*log.decisions.after()))
    lines = [line for letter in direct.list("decided") for line in direct.get(letter.name).data.splitlines()]
    assert lines == [row.document for row in chain(*log.decisions.after())]
    assert len(list(direct.list("transaction"))) == 40
