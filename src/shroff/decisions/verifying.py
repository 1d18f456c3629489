"""The whole log through the engines again, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shroff.decisions.fold import Progress
from shroff.decisions.replay import Verification, chosen, verify_naive, verify_online
from shroff.decisions.verifying_batch import verify_batch
from shroff.errors import UsageError, nearest
from shroff.streams.log import Log

ENGINES: Final = ("online", "batch", "naive")
NAIVE_SAMPLE: Final = 200  # events that the naive engine computes, where nobody says how many;
NAIVE_SAMPLE_LEAST: Final = 10  # fewer of a long log, since each of them may look at all events before it:
NAIVE_LOOKS: Final = 3_000_000  # about so many in all, which takes seconds


def known_engines(engines: Sequence[str]) -> None:
    """Raises: UsageError for what is none, and where none is named."""
    for engine in engines:
        if engine not in ENGINES:
            near = nearest(engine, ENGINES) or "There are online, batch and naive."
            raise UsageError(f"there is no engine {engine!r}. {near}")
    if not engines:
        raise UsageError("name an engine: online, batch, naive, or several.")


def verify(
    log: Log, engines: Sequence[str], sample: int | None = None, progress: Progress | None = None
) -> Verification:
    """Compute the log again and compare.

    `online` decides every event again and compares documents and receipts; `batch`
    computes the features and hits of all events over the whole log at once; `naive` computes
    the features of a sample, spread over the log, by their definition. The names are
    `known_engines`.
    """
    result = Verification()
    for engine in engines:
        if engine == "online":
            found = verify_online(log, progress)
        elif engine == "batch":
            found = verify_batch(log, progress)
        else:
            places = [row.seq for rows in log.decisions_after() for row in rows]
            step = max(len(places) // (sample or naive_sample(len(places))), 1)
            found = verify_naive(log, chosen(places[::step]), progress)
        result.events = max(result.events, found.events)
        result.mismatches += found.mismatches
        result.first_mismatch = result.first_mismatch or found.first_mismatch
    return result


def naive_sample(events: int) -> int:
    """How many of so many events the naive engine computes, where nobody says.

    >>> naive_sample(1_000), naive_sample(100_000), naive_sample(10_000_000)
    (200, 30, 10)
    """
    return max(NAIVE_SAMPLE_LEAST, min(NAIVE_SAMPLE, NAIVE_LOOKS // max(events, 1)))
