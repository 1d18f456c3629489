"""The whole log through the engines again, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shroff.decisions.fold import Progress
from shroff.decisions.replay import Verification, chosen, verify_naive, verify_online
from shroff.errors import NotThereYetError, UsageError, nearest
from shroff.streams.log import Log

ENGINES: Final = ("online", "naive")
NAIVE_SAMPLE: Final = 200  # events that the naive engine looks at, where nobody says how many


def known_engines(engines: Sequence[str]) -> None:
    """Raises: NotThereYetError for the batch engine, UsageError for what is none."""
    for engine in engines:
        if engine == "batch":
            raise NotThereYetError("the batch engine")
        if engine not in ENGINES:
            raise UsageError(
                f"there is no engine {engine!r}. {nearest(engine, ENGINES) or 'There are online and naive.'}"
            )
    if not engines:
        raise UsageError("name an engine: online, naive or both.")


def verify(
    log: Log, engines: Sequence[str], sample: int | None = None, progress: Progress | None = None
) -> Verification:
    """Compute the log again and compare.

    `online` decides every event again and compares documents and receipts; `naive`
    computes the features of a sample, spread over the log, by their definition. The names
    are `known_engines`.
    """
    result = Verification()
    for engine in engines:
        if engine == "online":
            found = verify_online(log, progress)
        else:
            places = [row.seq for rows in log.decisions_after() for row in rows]
            step = max(len(places) // (sample or NAIVE_SAMPLE), 1)
            found = verify_naive(log, chosen(places[::step]), progress)
        result.events = max(result.events, found.events)
        result.mismatches += found.mismatches
        result.first_mismatch = result.first_mismatch or found.first_mismatch
    return result
