"""One fault after the other: it strikes, it is mended, and what is there then is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from .faults_check import Found
from .faults_table import Row


class Struck(Protocol):
    """What a fault can strike at, and be looked at after it."""

    folder: Path
    seed: str
    chance: Random

    def ended(self) -> int | None:
        """How the worker ended; None while it runs."""

    def recover(self) -> float:
        """All is well again: the seconds until something new is settled."""

    def settle(self) -> None:
        """Wait until everything is."""

    def look(self) -> Found:
        """Everything that is not as it must be."""

    def last_words(self) -> str:
        """What processes of this world said to people since the last look."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, and how the worker may end by it; with no status it must go on.

    `strike` is given the world, lets lines flow and breaks something meanwhile. It raises where the fault was not
    felt, since one that nobody felt proves nothing.
    """

    name: str
    strike: Callable[[Any], None]
    ends: frozenset[int] = frozenset()
    may_go_on: bool = False  # where it depends on the moment whether it ends
    kind: str = ""  # of which a short run has one at least


def strike(world: Struck, fault: Fault) -> tuple[Row, Found]:
    """Let one fault strike, be mended, and be looked at."""
    fault.strike(world)
    status = world.ended()
    seconds = world.recover()
    world.settle()
    found = world.look()
    is_expected = status in fault.ends if status is not None else fault.may_go_on or not fault.ends
    if not is_expected:
        went = "went on" if status is None else f"ended with {status}"
        found.wrong.append(f"the worker {went}, expected {sorted(fault.ends) or 'that it goes on'}")
    return Row(fault.name, 1, len(found.lost), len(found.doubled), len(found.changed), [seconds]), found


def strike_all(world: Struck, faults: Sequence[Fault], rows: list[Row]) -> None:
    """Let them strike one after the other, and add what came of each to `rows`.

    Raises: AssertionError where anything is not as it must be, with how to repeat it.
    """
    for number, fault in enumerate(faults):
        # Its own chance for each, since how much of it the one before took hangs on time.
        world.chance.seed(f"{world.seed} {number}")
        where = f"fault {number} ({fault.name}) of world {world.seed!r}, which is in {world.folder}"
        try:
            row, found = strike(world, fault)
        except (AssertionError, OSError) as error:
            words = world.last_words()
            heard = "" if words in str(error) else f"\nIts processes said:\n{words}"
            raise AssertionError(f"{where}: {error}{heard}") from error
        rows.append(row)
        assert not found, f"{where}:\n{found}"


def of_each_kind(faults: Sequence[Fault], seed: str, count: int) -> list[Fault]:
    """So many faults, none twice: one of each kind, and the rest by chance, in an order of chance."""
    chance = Random(f"{seed} kinds")
    kinds = sorted({fault.kind for fault in faults if fault.kind})
    given = [chance.choice([fault for fault in faults if fault.kind == kind]) for kind in kinds]
    given += chance.sample([fault for fault in faults if fault not in given], count - len(given))
    chance.shuffle(given)
    return given


def planned(faults: Sequence[Fault], seed: str, count: int, parts: int = 1) -> list[list[Fault]]:
    """So many faults in parts, each kind as often as every other, in an order of chance."""
    chance = Random(f"{seed} plan")
    given = [fault for _ in range(count // len(faults)) for fault in faults]
    given += chance.sample(faults, count - len(given))
    chance.shuffle(given)
    return [given[part::parts] for part in range(parts)]
