"""A recorded log folded in this process, its checkpoint in files: the reference of the contract of `Streaming`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from shroff.config import make_folder
from shroff.features.cluster.partition_state import EntityAnswer
from shroff.lake.cluster_replay import PartitionEvent, ReplayPlan, ReplayProcess, answers_of, decided, rows_of
from shroff.lake.cluster_replay_files import DecidedPart
from tests.support.backends import HereBackend

States = dict[str, bytes]  # by stage and partition


@dataclass(slots=True)
class RouteDoc:
    """A stretch of places that is decided."""

    first: int
    last: int
    decisions: int
    differing: int
    example: str


class FoldingBackend(HereBackend):
    """Keeps every promise of `lake.cluster_replay_files.Streaming`, one stretch after the other.

    A stretch is written down before it is computed, and done when it is written; between them are its states,
    by the place that they belong to. So one that was cut off is computed again from where it began.
    """

    def stream(
        self,
        spread: ReplayPlan,
        checkpoint: Path,
        places: int,
        write: Callable[[int, int, Any], None],
        done: Callable[[DecidedPart], None],
    ) -> None:
        make_folder(checkpoint)
        work = ReplayProcess(spread)
        after = self.done_upto(checkpoint)
        while after < spread.upto:
            upto = self.planned(checkpoint, after, min(after + places, spread.upto))
            states = self.states_at(checkpoint, after)
            answers = self.fold(work, after, upto, states)
            self.save(checkpoint, upto, states)
            found = decided(work, after, upto, answers)
            write(after, upto, found.effects)
            (checkpoint / f"done-{upto}").touch()
            done(RouteDoc(after, upto, len(found.effects.decisions), found.differing, found.first))
            after = upto

    def done_upto(self, checkpoint: Path) -> int:
        """The place up to which all is written."""
        return max((int(path.name.partition("-")[2]) for path in checkpoint.glob("done-*")), default=0)

    def planned(self, checkpoint: Path, after: int, upto: int) -> int:
        """Where the stretch behind a place ends: as it was written down once, else here, and now it is."""
        plan = checkpoint / f"plan-{after}"
        if not plan.exists():
            unfinished = plan.with_suffix(".new")
            unfinished.write_text(str(upto), encoding="utf-8")
            unfinished.replace(plan)
        return int(plan.read_text(encoding="utf-8"))

    def states_at(self, checkpoint: Path, after: int) -> States:
        """The states that have seen the places up to this one and no other."""
        if after == 0:
            return {}
        return msgspec.msgpack.decode((checkpoint / f"states-{after}").read_bytes(), type=States)

    def save(self, checkpoint: Path, upto: int, states: States) -> None:
        """Keep what the states are at a place."""
        (checkpoint / f"states-{upto}").write_bytes(msgspec.msgpack.encode(states))

    def fold(self, work: ReplayProcess, after: int, upto: int, states: States) -> dict[int, dict[int, EntityAnswer]]:
        """Move the states on over a stretch; gives their answers by stage and place."""
        parts: dict[tuple[int, int], list[PartitionEvent]] = defaultdict(list)
        for item in rows_of(work, after, upto):
            parts[item.stage, item.partition].append(item)
        answers: dict[int, dict[int, EntityAnswer]] = defaultdict(dict)
        for (stage, partition), seen in parts.items():
            name = f"{stage}-{partition}"
            states[name], mine = answers_of(work, stage, states.get(name), seen)
            answers[stage] |= dict(mine)
        return answers
