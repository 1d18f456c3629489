"""The whole log through the engines again, and what they are called."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from shroff.language.expression import aggregates
from shroff.log.state.fold import Progress
from shroff.project.definitions import computed_of
from shroff.project.scoring import LoadModel
from shroff.replay.compare import Verification, chosen, segments, verify_naive, verify_online
from shroff.replay.verifying_batch import verify_batch
from shroff.streams.log import Log, LogReader

NAIVE_SAMPLE: Final = 200  # events that the naive engine computes, where nobody says how many;
NAIVE_SAMPLE_LEAST: Final = 10  # fewer of a long log, since each of them may look at all events before it:
NAIVE_LOOKS: Final = 10_000_000  # so many in all where one key has every event, which takes some 20 s


def verify(
    log: Log,
    engines: Sequence[str],
    sample: int | None = None,
    progress: Progress | None = None,
    load_model: LoadModel | None = None,
) -> Verification:
    """Compute the log again and compare.

    `online` decides every event again and compares documents and receipts; `batch`
    computes the features, scores and hits of all events over the whole log at once; `naive`
    computes the features and scores of a sample, spread over the log, by their definition.
    The names are `known_engines`.
    """
    result = Verification()
    for engine in engines:
        if engine == "online":
            found = verify_online(log, progress, load_model)
        elif engine == "batch":
            found = verify_batch(log, progress, load_model)
        else:
            places = [row.seq for rows in log.decisions_after() for row in rows]
            wanted = sample or naive_sample(len(places), _aggregates_now(log))
            step = max(len(places) // wanted, 1)
            found = verify_naive(log, chosen(places[::step]), progress, load_model)
        result.events = max(result.events, found.events)
        result.mismatches += found.mismatches
        result.first_mismatch = result.first_mismatch or found.first_mismatch
        result.unread += [words for words in found.unread if words not in result.unread]
    return result


def verified_together(found: Iterable[Verification]) -> Verification:
    """Verifications of several logs, as one."""
    result = Verification()
    for one in found:
        result.events += one.events
        result.mismatches += one.mismatches
        result.first_mismatch = result.first_mismatch or one.first_mismatch
        result.unread += one.unread
    return result


def naive_sample(events: int, of_each: int) -> int:
    """How many of so many events the naive engine computes, where nobody says.

    Each of the `of_each` aggregates of an event looks at half of them, where one key has them all.

    >>> naive_sample(1_000, 16), naive_sample(30_000, 16), naive_sample(10_000_000, 16)
    (200, 41, 10)
    """
    looks = max(events * of_each // 2, 1)
    return max(NAIVE_SAMPLE_LEAST, min(NAIVE_SAMPLE, NAIVE_LOOKS // looks))


def _aggregates_now(log: LogReader) -> int:
    """Aggregates in the features of the version that is in force; 0 of an empty log."""
    versions = segments(log)
    if not versions:
        return 0
    computed = computed_of(versions[-1].definitions)
    return sum(1 for one in computed if one.rule is None for _ in aggregates(one.node))
