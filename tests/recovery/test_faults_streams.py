"""Faults on brokers, stores and Spark, and the worker that was frozen while another one took over."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shroff.features.cluster.partitioned import Cluster
from tests.support.backends import HereBackend
from tests.support.recorded_lake import Recorded
from tools.servers.errors import UnavailableError
from tools.servers.keep import Kept

from .faults_outside import FAULTS, flow_for, leader_frozen
from .faults_outside import KILLED as BY_ITSELF
from .faults_process import Stable
from .faults_servers import Servers, Undisturbed
from .faults_spark import KILLED as BY_KILL
from .faults_spark import SparkWorld, check_spark, driver_killed, look
from .faults_streams import OVERTAKEN, WITHIN_S, StreamWorld
from .faults_strike import Fault, of_each_kind, strike_all
from .faults_table import seed
from .faults_world import World

STREAM_FAULTS = 20
TRIES = 20  # of a program that breaks its promises, until it is seen
STUCK_S = 20.0  # in which a program that breaks them comes to no end: a right one is given a long time
Strikes = Callable[[World | SparkWorld, list[Fault]], None]

pytestmark = pytest.mark.slow
smoke = ("test_a_short_run_has_each_kind_of_fault",)


@pytest.fixture
def undisturbed(kafka: Kept, postgres: Kept) -> Undisturbed:
    return Undisturbed(kafka.address, postgres.address)


@pytest.mark.long
def test_workers_on_brokers_and_a_store_suffer_everything_and_lose_nothing(
    kafka: Kept, postgres: Kept, tmp_path: Path, stable: Stable, strikes: Strikes
) -> None:
    """The fixtures say whether there can be such servers here; those that are struck are others."""
    with Servers() as servers:
        world = StreamWorld(tmp_path / "world", f"{seed()} streams", stable, servers)
        world.begin_settled()

        strikes(world, of_each_kind(FAULTS, seed(), STREAM_FAULTS))


def test_a_short_run_has_each_kind_of_fault() -> None:
    drawn = of_each_kind(FAULTS, "a commit", STREAM_FAULTS)

    assert len({fault.name for fault in drawn}) == STREAM_FAULTS
    assert {fault.kind for fault in drawn} >= {fault.kind for fault in FAULTS if fault.kind}
    assert drawn == of_each_kind(FAULTS, "a commit", STREAM_FAULTS) != of_each_kind(FAULTS, "the next", STREAM_FAULTS)


def test_a_worker_that_wakes_when_another_one_leads_commits_nothing_and_ends_with_words(
    undisturbed: Undisturbed, tmp_path: Path, stable: Stable
) -> None:
    with closing(StreamWorld(tmp_path / "world", f"{tmp_path.parent.name} zombie", stable, undisturbed)) as world:
        world.begin_settled()
        frozen = world.leading()
        zombie = world.workers[frozen]
        assert zombie is not None
        world.flow(30)
        world.signal_to(frozen, signal.SIGSTOP)
        world.send(world.fresh(30))  # some of it may be on its way into the store
        world.until(lambda: world.leading() != frozen, "another one to lead than the frozen one")
        flow_for(world, 0.5)
        world.settle()
        committed = world.n_settled()
        world.signal_to(frozen, signal.SIGCONT)
        flow_for(world, 0.5)

        assert zombie.wait() == OVERTAKEN
        world.hears("Another process has taken over")
        world.recover()
        world.settle()
        assert world.n_settled() > committed
        found = world.look()
        assert not found, str(found)


@pytest.mark.long
def test_sparks_driver_is_killed_in_the_middle_of_a_stage_and_nothing_is_lost_or_doubled(
    tmp_path: Path, strikes: Strikes
) -> None:
    try:
        check_spark()
    except UnavailableError as error:
        if os.environ.get("CI"):
            pytest.fail(f"must be there in CI: {error}")
        pytest.skip(reason=str(error))
    with closing(SparkWorld(tmp_path / "world", f"{seed()} spark")) as world:
        strikes(world, [Fault("spark: driver killed", driver_killed, BY_KILL)])


# ---- a harness that cannot fail proves nothing


def test_decisions_that_are_lost_doubled_or_changed_are_seen(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.grow(90)
    with recorded.project.lake.open() as lake:
        lake.decide(tmp_path / "out", Cluster(HereBackend(), 2), places=30)
    assert not look(tmp_path / "out", recorded.project)
    first, second, third, *_ = sorted((tmp_path / "out" / "decisions").iterdir())

    table = pq.read_table(first)
    altered = table.set_column(3, "outcome", pa.array(["review"] * len(table)))
    pq.write_table(pa.concat_tables([table.slice(0, 1), altered]), first)
    second.rename(third)
    found = look(tmp_path / "out", recorded.project)

    assert len(found.lost) > 20
    assert [item for item in found.doubled if item.endswith("is there 2 times")]
    assert [item for item in found.changed if "'review'" in item]
    assert found.wrong == ["30 is followed by 61"]


def _leader_killed(world: StreamWorld) -> None:
    flow_for(world, 0.4)
    world.signal_to(world.leading(), signal.SIGKILL)


def _leader_killed_by_itself(world: StreamWorld) -> None:
    """Messages flow until it is gone: a program that was broken so that it kills itself between two batches."""
    until = time.monotonic() + WITHIN_S
    while world.ended() is None:
        if time.monotonic() > until:
            raise TimeoutError(f"no worker ended by itself within {WITHIN_S} s")
        flow_for(world, 0.1)


@pytest.mark.parametrize(
    ("broken", "struck"), [("offsets_first", _leader_killed_by_itself), ("effects_again", _leader_killed)]
)
def test_a_promise_that_is_broken_on_streams_is_seen(
    broken: str, struck: Callable[[StreamWorld], None], undisturbed: Undisturbed, tmp_path: Path, stable: Stable
) -> None:
    """By what the look finds, or by a worker that never comes to the end; test_faults.py tells the kinds apart."""
    name = f"{tmp_path.parent.name} {broken}"
    world = StreamWorld(tmp_path / "world", name, stable, undisturbed, broken)
    with closing(world), pytest.raises(AssertionError):
        _begun_and_struck(world, struck)


def _begun_and_struck(world: StreamWorld, struck: Callable[[StreamWorld], None]) -> None:
    world.begin_settled()
    world.within_s = STUCK_S
    strike_all(world, [Fault("killed", struck, BY_ITSELF)] * TRIES, [])


def test_a_worker_that_forgets_who_leads_is_seen(undisturbed: Undisturbed, tmp_path: Path, stable: Stable) -> None:
    name = f"{tmp_path.parent.name} forgets"
    with closing(StreamWorld(tmp_path / "world", name, stable, undisturbed, "forgets_who_leads")) as world:
        world.begin_settled()
        # it goes on as if it led, or fails at what the other one did: it never ends with the words it should
        with pytest.raises((TimeoutError, AssertionError), match=r"run --standby did not end|nobody said 'taken over'"):
            leader_frozen(world, within_s=5)  # it never comes
