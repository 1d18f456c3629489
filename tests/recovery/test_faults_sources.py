"""Faults of chance on sources: folders, buckets, tables and Pub/Sub; after each, all that was sent is there once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.effort import IS_LONG
from tools.servers.keep import Kept

from .faults_files import FileWorld, killed_at_a_step
from .faults_process import Stable
from .faults_pulled import SERVERS, faults_of, world_at
from .faults_strike import Fault, planned, strike_all
from .faults_table import seed
from .faults_world import World

IN_A_CAMPAIGN = 5  # of each kind
KILLS = 2  # the first kinds, which are all that a change is tried by
TRIES = 30  # of a program that breaks its promises, until it is seen
KILLED = frozenset({-signal.SIGKILL})
Make = Callable[..., FileWorld]
Strikes = Callable[[World, list[Fault]], None]

pytestmark = pytest.mark.slow
smoke = ("test_what_a_sync_is_killed_at_is_taken_once",)


def drawn(faults: Sequence[Fault]) -> list[Fault]:
    chosen, count = (faults, IN_A_CAMPAIGN * len(faults)) if IS_LONG else (faults[:KILLS], KILLS)
    return planned(chosen, seed(), count)[0]


@pytest.fixture
def make(place: str, tmp_path: Path, stable: Stable, request: pytest.FixtureRequest) -> Make:
    """A world at a place, which may be broken."""

    def made(broken: str = "") -> FileWorld:
        server = request.getfixturevalue(SERVERS[place]) if SERVERS[place] else None
        return world_at(place, tmp_path / "world", broken or f"{seed()} {place}", stable, server, broken)

    return made


@pytest.mark.parametrize(
    "place",
    [pytest.param(server, marks=[pytest.mark.long] if server.startswith("table of") else []) for server in SERVERS],
)
def test_what_a_sync_is_killed_at_is_taken_once(place: str, make: Make, strikes: Strikes) -> None:
    world = make()
    world.begin_settled()

    strikes(world, drawn(faults_of(place)))


def test_what_a_worker_on_pubsub_is_killed_at_is_taken_once_and_acknowledged(
    tmp_path: Path, stable: Stable, pubsub: Kept, strikes: Strikes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    from .faults_pubsub import FAULTS, PubsubWorld

    world = PubsubWorld(tmp_path / "world", f"{seed()} pubsub", stable, pubsub.address)
    world.begin_settled()
    left: list[int] = []

    strikes(world, [*drawn(FAULTS), Fault("pubsub: all acknowledged", lambda world: left.append(world.left()), KILLED)])
    assert left == [0]


# ---- a harness that cannot fail proves nothing


@pytest.mark.parametrize("place", ["folder", "table"])
def test_a_file_that_is_marked_as_taken_before_its_commit_is_seen(place: str, make: Make) -> None:
    with closing(make("offsets_first")) as world:
        world.begin_settled()
        with pytest.raises(AssertionError, match="\nlost: "):
            strike_all(world, [Fault("killed", killed_at_a_step, KILLED)] * TRIES, [])


def test_a_message_that_is_acknowledged_before_its_commit_is_seen(
    tmp_path: Path, stable: Stable, pubsub: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    from .faults_embedded import killed_at_a_step
    from .faults_pubsub import PubsubWorld

    with closing(PubsubWorld(tmp_path / "world", "broken", stable, pubsub.address, "acknowledged_first")) as world:
        world.begin_settled()
        with pytest.raises(AssertionError, match="\nlost: "):
            strike_all(world, [Fault("killed", killed_at_a_step, KILLED)] * TRIES, [])
