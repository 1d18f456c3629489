"""Verifies the whole log with the engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from shroff.errors import UsageError
from shroff.features.computed import ENGINES, known_engines
from shroff.log.state.fold import Progress
from shroff.project.scoring import LoadModel
from shroff.project.table_files import tables_from_content
from shroff.replay.compare import LookBack, SampleTime, Verification, verify_by_keys, verify_naive, verify_online
from shroff.replay.verifying_batch import verify_batch
from shroff.streams.log import Log

NAIVE_SAMPLE = 200  # decisions that the naive engine computes by default
NAIVE_S = 5.0  # time limit of the default sample, since each decision may read all earlier events
LONG = 1_000_000  # records: a sample of a longer log is computed from the events of its own keys


def engines_for(engines: str | Sequence[str] | None, last: int | None = None) -> tuple[str, ...]:
    """Return the named engines, by default all; with `last`, all but `batch`.

    Raises: UsageError for an unknown engine, for `batch` with `last`, and for a `last` below 1.
    """
    if last is None:
        return known_engines(ENGINES if engines is None else engines)
    if last < 1:
        raise UsageError(f"at least 1 of the last sequence numbers must be compared, not {last}.")
    names = known_engines([name for name in ENGINES if name != "batch"] if engines is None else engines)
    if "batch" in names:
        raise UsageError("the batch engine computes the whole log: leave out --last, or name online or naive.")
    return names


def verify(
    log: Log,
    engines: Sequence[str],
    sample: int | None = None,
    progress: Progress | None = None,
    load_model: LoadModel | None = None,
    *,
    last: int | None = None,
    look_back: LookBack | None = None,
) -> Verification:
    """Compute the log again and compare.

    `online` decides every event again and compares documents and receipts; `batch` computes the features, scores and
    hits of all events over the whole log at once; `naive` computes the features and scores of a sample, spread over the
    log, by definition. Look-up tables are parsed from their stored contents. Each record in the compared range is also
    looked up by its id.

    Args:
        engines: Names from `known_engines`.
        last: Compare only decisions within this many last sequence numbers; not possible with `batch`.
        look_back: Finds what one decision depends on; used to sample a log longer than LONG. Decisions for which it
            cannot are `unread`.
    """
    result = Verification()
    end = log.last_seq()
    after = 0 if last is None else max(end - last, 0)
    for engine in engines:
        with tables_from_content():
            if engine == "online":
                partial = verify_online(log, progress, load_model, after)
            elif engine == "batch":
                partial = verify_batch(log, progress, load_model)
            else:
                partial = _verify_sample(log, (after, end), sample, progress, load_model, look_back)
        result.events = max(result.events, partial.events)
        result.mismatches += partial.mismatches
        result.first_mismatch = result.first_mismatch or partial.first_mismatch
        result.unread += [lost for lost in partial.unread if lost not in result.unread]
        result.sampled = partial.sampled if engine == "naive" else result.sampled
    lost = log.ids_lost(after)
    if lost:
        result.unread.append(lost)
    result.undecided = sum((b"\n" + lines).count(b"\ne0") for lines in log.lines(after, end))
    return result


def _verify_sample(
    log: Log,
    span: tuple[int, int],
    sample: int | None,
    progress: Progress | None,
    load_model: LoadModel | None,
    look_back: LookBack | None,
) -> Verification:
    after, end = span
    limit_s = NAIVE_S if sample is None else None
    if end > LONG and look_back is not None:
        sample_seqs = _spread(log, after, end, sample or NAIVE_SAMPLE)
        partial = verify_by_keys(
            log, sample_seqs, look_back, progress, load_model, SampleTime(len(sample_seqs), limit_s)
        )
        partial.sampled = partial.events, end - after
        return partial
    decided = list(_decided(log, after, end))
    sample_seqs = decided[:: max(len(decided) // (sample or NAIVE_SAMPLE), 1)]
    partial = verify_naive(
        log, frozenset(sample_seqs).__contains__, progress, load_model, SampleTime(len(sample_seqs), limit_s)
    )
    partial.sampled = partial.events, len(decided)
    return partial


def _decided(log: Log, after: int, end: int) -> Iterator[int]:
    return (row.seq for rows in log.decisions.after(after, end) for row in rows)


def _spread(log: Log, after: int, end: int, count: int) -> list[int]:
    """Return up to `count` sequence numbers of decisions, spread over the log, or all if there are fewer."""
    seqs = list[int]()
    start = after
    for remaining in range(count, 0, -1):
        rows = next(log.decisions.after(start, end, size=1), [])
        if not rows:
            break
        seqs.append(rows[0].seq)
        start = rows[0].seq + max((end - rows[0].seq) // remaining - 1, 0)
    missing = count - len(seqs)  # if no event at the end was decided for long
    chosen = set(seqs)
    others = (seq for seq in _decided(log, after, end) if seq not in chosen) if missing else iter(())
    return sorted([*seqs, *islice(others, missing)])
