"""The contract of engines that fold a recorded log: the reference keeps it, broken ones are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shroff.engine.step import Effects
from shroff.errors import StateError
from shroff.lake.cluster_replay import ReplayPlan
from shroff.lake.cluster_replay_files import DecidedPart, Streaming
from shroff.runtime.values import replace
from tests.support.contracts.streaming import EVENTS, Recorded, StreamingContract
from tests.support.effort import long_after
from tests.support.folding import FoldingBackend, States

pytestmark = pytest.mark.slow  # each test starts processes of its own


class TestFolding(StreamingContract):
    @pytest.fixture
    def streaming(self) -> Streaming:
        return FoldingBackend()


class Forgetting(FoldingBackend):
    """Begins with empty states each time it is started."""

    started_at = -1

    def stream(
        self, spread: ReplayPlan, checkpoint: Path, places: int, write: Any, done: Callable[[DecidedPart], None]
    ) -> None:
        self.started_at = self.done_upto(checkpoint) if checkpoint.exists() else 0
        super().stream(spread, checkpoint, places, write, done)

    def states_at(self, checkpoint: Path, after: int) -> States:
        return {} if after == self.started_at else super().states_at(checkpoint, after)


class Newest(FoldingBackend):
    """Takes the newest states, which may have seen the stretch that is to be computed again."""

    def states_at(self, checkpoint: Path, after: int) -> States:
        newest = max((int(path.name.partition("-")[2]) for path in checkpoint.glob("states-*")), default=0)
        return super().states_at(checkpoint, newest)


class Ahead(FoldingBackend):
    """Notes that a stretch is done before it is written."""

    def save(self, checkpoint: Path, upto: int, states: States) -> None:
        super().save(checkpoint, upto, states)
        (checkpoint / f"done-{upto}").touch()


class Recut(FoldingBackend):
    """Cuts what was begun anew when it is started again."""

    def planned(self, checkpoint: Path, after: int, upto: int) -> int:
        return upto


class Silent(FoldingBackend):
    """Ends as if all were well when a process fails."""

    def stream(
        self, spread: ReplayPlan, checkpoint: Path, places: int, write: Any, done: Callable[[DecidedPart], None]
    ) -> None:
        try:
            super().stream(spread, checkpoint, places, write, done)
        except StateError:
            return


class Again(FoldingBackend):
    """Decides all places at each start."""

    def done_upto(self, checkpoint: Path) -> int:
        return 0


@pytest.fixture(scope="module")
def recorded_once(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return grown(tmp_path_factory.mktemp("bank"))


def grown(folder: Path) -> Recorded:
    made = Recorded(folder)
    made.grow(EVENTS)
    return made


@pytest.mark.parametrize("broken", long_after(2, [Forgetting, Newest, Ahead, Recut, Silent, Again]))
def test_the_contract_rejects_an_engine_that_breaks_a_promise_at_a_new_start(
    broken: type[FoldingBackend], tmp_path: Path
):
    (tmp_path / "out").mkdir()

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        StreamingContract().test_a_run_that_was_stopped_goes_on_where_it_was(
            broken(), grown(tmp_path), tmp_path / "out", tmp_path
        )


class Lossy(FoldingBackend):
    """Takes the answers of each stretch from states that nobody keeps."""

    def states_at(self, checkpoint: Path, after: int) -> States:
        return {}


class Half(FoldingBackend):
    """Decides what is there to half of it, and says nothing."""

    def stream(
        self, spread: ReplayPlan, checkpoint: Path, places: int, write: Any, done: Callable[[DecidedPart], None]
    ) -> None:
        def half(after: int, upto: int, effects: Effects) -> None:
            write(after, upto, replace(effects, decisions=effects.decisions[::2]))

        super().stream(spread, checkpoint, places, half, done)


@pytest.mark.parametrize("broken", [Lossy, Half])
def test_the_contract_rejects_an_engine_that_decides_otherwise(
    broken: type[FoldingBackend], recorded_once: Recorded, tmp_path: Path
):
    (tmp_path / "out").mkdir()

    with pytest.raises(AssertionError):
        StreamingContract().test_every_place_is_decided_as_one_process_did(
            broken(), recorded_once, tmp_path / "out", tmp_path
        )
