"""Faults on brokers and stores, and the worker that was frozen while another one took over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tools.servers.keep import Kept

from .faults_outside import FAULTS, flow_for, leader_frozen
from .faults_outside import KILLED as BY_ITSELF
from .faults_process import Stable
from .faults_servers import Servers, Undisturbed
from .faults_streams import OVERTAKEN, StreamWorld
from .faults_strike import Fault, of_each_kind, strike_all
from .faults_table import seed
from .faults_world import World

STREAM_FAULTS = 20
TRIES = 20  # of a program that breaks its promises, until it is seen
Strikes = Callable[[World, list[Fault]], None]

pytestmark = pytest.mark.slow


@pytest.fixture
def undisturbed(kafka: Kept, postgres: Kept) -> Undisturbed:
    return Undisturbed(kafka.address, postgres.address)


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


# ---- a harness that cannot fail proves nothing


@pytest.mark.parametrize("broken", ["offsets_first", "effects_again"])
def test_a_promise_that_is_broken_on_streams_is_seen(
    broken: str, undisturbed: Undisturbed, tmp_path: Path, stable: Stable
) -> None:
    """By what the look finds, or by a worker that never comes to the end; test_faults.py tells the kinds apart."""
    name = f"{tmp_path.parent.name} {broken}"
    world = StreamWorld(tmp_path / "world", name, stable, undisturbed, broken)
    with closing(world), pytest.raises(AssertionError):
        _begun_and_struck(world)


def _begun_and_struck(world: StreamWorld) -> None:
    world.begin_settled()
    strike_all(world, [Fault("killed", _leader_killed, BY_ITSELF)] * TRIES, [])


def _leader_killed(world: StreamWorld) -> None:
    flow_for(world, 0.4)  # slowly, as some promises are broken between two batches only
    world.signal_to(world.leading(), signal.SIGKILL)


def test_a_worker_that_forgets_who_leads_is_seen(undisturbed: Undisturbed, tmp_path: Path, stable: Stable) -> None:
    name = f"{tmp_path.parent.name} forgets"
    with closing(StreamWorld(tmp_path / "world", name, stable, undisturbed, "forgets_who_leads")) as world:
        world.begin_settled()
        # it goes on as if it led, or fails at what the other one did: it never ends with the words it should
        with pytest.raises((TimeoutError, AssertionError), match=r"run --standby did not end|nobody said 'taken over'"):
            leader_frozen(world, within_s=10)
