"""Checks of `doctor` outside the log's content: external systems, in parallel with a short timeout, and the
write-ahead log of a file.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from shroff.errors import ShroffError, StateError, TransientError, UsageError
from shroff.language.values import DAY_MS
from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems
from shroff.runtime.environment import missing_variables
from shroff.runtime.texts import bytes_text, many
from shroff.runtime.values import FrozenStruct
from shroff.streams.delivering_rows import KINDS, with_fields
from shroff.streams.log import Log
from shroff.streams.sink import KeepingSink, Outgoing
from shroff.streams.sink_cursor import BEGAN, source_of, through_of
from shroff.streams.source import PartLag
from shroff.worker.outbox import all_stuck

if TYPE_CHECKING:
    from shroff.lake.publication import TableFormat
    from shroff.lake.reader import LakeReader
    from shroff.streams.lake import RetriedObjects

LIMIT_S = 5.0  # for an answer of an external system
TROUBLE_SHOWN = 3  # partitions in a line
MEND = "Fix its settings in shroff.yaml or the system itself, then run 'shroff doctor' again."
WRITE_AHEAD_BYTES_MAX = 512 * 1024 * 1024  # the active writer truncates it from 128 MiB on
LAKE_CURE = "Make it reachable from this machine: until then 'shroff serve' and 'shroff run' do not write it."
AWAY = "Check that it runs, that its address in shroff.yaml is right, and that this machine can reach it."
NEWEST = 20  # rows
SPAN = 512  # sequence numbers read at once to find the newest rows
SPANS_MAX = 8  # number of such reads: rows that are rarer are not checked
DRAWN = 16  # sequence numbers drawn from the last day, and again from the time before
NEAR = 32  # sequence numbers in which a row is searched after a drawn one
RECENT_MAX = 100_000  # sequence numbers that may count as the last day
LOST_SHARE = 0.25  # of the rows of the last day; fewer may have been dropped with 'shroff outbox drop'
Given = TypeVar("Given")


class Try(FrozenStruct):
    """A check of an external system; `ask` returns the finding. An error that it raises is the finding."""

    subject: str
    ask: Callable[[], Finding]


class AddedChecks(Protocol):
    """Checks of a plug-in for an opened project; created once for each `doctor`, and once for metrics."""

    def tries(self) -> Iterable[Try]:
        """Return the checks for `doctor`; empty if the project does not use the plug-in."""

    def values(self) -> Mapping[str, float | None]:
        """Return values of metrics."""


def asked(tries: Sequence[Try], limit_s: float) -> list[Finding]:
    """Check all systems in parallel; one that has not answered in time is unreachable. Takes at most the limit."""
    answers = [_Answer(attempt.ask) for attempt in tries]
    until_s = time.monotonic() + limit_s
    return [_finding(attempt, answer, until_s, limit_s) for attempt, answer in zip(tries, answers, strict=True)]


def within(limit_s: float, ask: Callable[[], Given], what: str) -> Given:
    """Return the answer, if it comes in time. Raises: TransientError if it does not; else errors of `ask`."""
    return _Answer(ask).within(time.monotonic() + limit_s, limit_s, what)


class _Answer(Generic[Given]):
    """Result of a call on a thread that is abandoned after the timeout."""

    def __init__(self, ask: Callable[[], Given]) -> None:
        self._ask = ask
        self._given = Future[Given]()
        Thread(target=self._run, name="asked", daemon=True).start()

    def within(self, until_s: float, limit_s: float, what: str) -> Given:
        if not wait([self._given], max(until_s - time.monotonic(), 0)).done:
            raise TransientError(f"{what} did not answer within {limit_s:g} s")
        return self._given.result()

    def _run(self) -> None:
        try:
            self._given.set_result(self._ask())
        except Exception as error:  # noqa: BLE001 - raised where the result is read
            self._given.set_exception(error)


def _finding(tried: Try, answer: _Answer[Finding], until_s: float, limit_s: float) -> Finding:
    try:
        return answer.within(until_s, limit_s, "it")
    except (ShroffError, OSError) as error:
        why = f"it cannot be reached: {error.strerror or type(error).__name__}" if isinstance(error, OSError) else error
        cure = MEND if isinstance(error, UsageError | StateError) else AWAY
        return Finding(tried.subject, WRONG, str(why), cure)


# ---- environment variables

# The fields of `Systems` that are one system each; `mail` and `mailer` share a key.
ALONE = ("store", "lake", "online", "snapshots", "backup", "sign_in", "http", "mail", "mailer", "web", "metrics")


def named_systems(systems: Systems) -> Iterator[tuple[str, System]]:
    for path, source in systems.all_read:
        yield ".".join(path), source
    for name, ask in {**systems.sources, **systems.pulled}.items():
        yield f"sources.{name}.{ask.system.kind}", ask.system
    for name, system in systems.sinks.items():
        yield f"sinks.{name}.{system.kind}", system
    for name in ALONE:
        system = getattr(systems, name)
        if system is not None:
            yield "mail" if name == "mailer" else name, system


def unset_variables(systems: Systems) -> dict[str, list[str]]:
    """Return the unset variables that settings read, each with the keys of shroff.yaml that read it."""
    keys_by_variable: dict[str, list[str]] = {}
    for path, system in named_systems(systems):
        for key, text in _texts(system.options, path):
            for name in missing_variables(text):
                if key not in keys_by_variable.setdefault(name, []):
                    keys_by_variable[name].append(key)
    return keys_by_variable


def is_set(system: System) -> bool:
    return not any(missing_variables(text) for _, text in _texts(system.options, ""))


def look_at_variables(systems: Systems) -> Iterator[Finding]:
    keys_by_variable = unset_variables(systems)
    if keys_by_variable:
        details = "; ".join(f"{name} ({', '.join(keys)})" for name, keys in keys_by_variable.items())
        cure = (
            "Set them where shroff runs. Systems that need them were not checked."
            if len(keys_by_variable) > 1
            else ("Set it where shroff runs. Systems that need it were not checked.")
        )
        are = many(len(keys_by_variable), "variable of the environment is", "variables of the environment are")
        yield Finding("variables", WRONG, f"{are} not set: {details}", cure)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, system in value.items():
            yield from _texts(system, f"{path}.{name}")
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, path)


# ---- the log's file


def write_ahead_bytes(log: Path) -> int | None:
    path = log.with_name(f"{log.name}-wal")
    return path.stat().st_size if path.exists() else None


def look_at_write_ahead(log: Path) -> Iterator[Finding]:
    """Check that commits move from the write-ahead log into the log's file; nothing if no process has it open."""
    size = write_ahead_bytes(log)
    if size is None:
        return
    message = f"{log.name}-wal has {bytes_text(size)}"
    if size <= WRITE_AHEAD_BYTES_MAX:
        yield Finding("write-ahead", OK, message)
        return
    cure = (
        "A program has been reading the file for long, such as an SQL shell with an open transaction or a copy under "
        "way, or no active writer runs. End the reader; 'shroff serve' and 'shroff run' then shorten it within seconds."
    )
    yield Finding("write-ahead", WRONG, f"{message}, which have not moved into {log.name}", cure)


# ---- rows stored by sinks


class DeliveredSample(NamedTuple):
    """Rows that a sink accepted: some of the last day, and some older ones."""

    recent: Sequence[Outgoing]
    older: Sequence[Outgoing]


def delivered_sample(
    log: Log, sink: str, take: str, outcomes: Collection[str], now_ms: int, *, has_fields: bool = False
) -> DeliveredSample:
    """Draw rows that a sink has accepted, according to the log. Cost: some milliseconds."""
    offsets = log.offsets.of(source_of(sink))
    through = through_of(sink, offsets) or 0
    began = max(log.pruned_to(), int(offsets.get(BEGAN, 0)))
    stuck = {(row.seq, row.number) for rows in all_stuck(log, sink) for row in rows}

    def read(after: int, upto: int) -> list[Outgoing]:
        rows = KINDS[take](log, after, upto, outcomes) if after < upto else []
        return [row for row in rows if (row.seq, row.number) not in stuck]

    draw = Random(now_ms)  # noqa: S311 - a sample, not a secret
    first = through
    for seq, at_ms in log.ingested(max(began, through - RECENT_MAX), through):
        if at_ms is not None and at_ms > now_ms - DAY_MS:
            first = max(seq - 1, began)
            break
    newest = _newest(read, first, through)
    recent = [*newest, *_drawn(read, first, through, draw)]
    older = _drawn(read, began, first, draw)
    if has_fields:
        recent, older = ([complete for row in rows for complete in with_fields(log, [row])] for rows in (recent, older))
    return DeliveredSample(_in_order(recent), _in_order(older))


def _newest(read: Callable[[int, int], list[Outgoing]], after: int, upto: int) -> list[Outgoing]:
    rows: list[Outgoing] = []
    for end in range(upto, max(after, upto - SPANS_MAX * SPAN), -SPAN):
        rows = read(max(end - SPAN, after), end) + rows
        if len(rows) >= NEWEST:
            break
    return rows[-NEWEST:]


def _drawn(read: Callable[[int, int], list[Outgoing]], after: int, upto: int, draw: Random) -> list[Outgoing]:
    seqs = [draw.randrange(after, upto) for _ in range(DRAWN)] if after < upto else []
    return [row for seq in seqs for row in read(seq, min(seq + NEAR, upto))[:1]]


def _in_order(rows: Sequence[Outgoing]) -> list[Outgoing]:
    by_key = {(row.seq, row.number): row for row in rows}
    return [by_key[key] for key in sorted(by_key)]


def lost_words(sink: KeepingSink, sample: DeliveredSample) -> tuple[bool, str]:
    """Return whether delivered rows were lost, and a message about those that are missing, empty without any.

    Missing rows that are older than a day may have been removed on purpose, so they alone are no loss. Raises: as
    `send`.
    """
    recent = sink.missing(sample.recent)
    older = sink.missing(sample.older)
    counts = [(len(recent), len(sample.recent), "last day"), (len(older), len(sample.older), "time before")]
    losses = [f"{lost:,} of {many(rows, 'row')} drawn from the {when}" for lost, rows, when in counts if lost]
    is_lost = len(recent) > LOST_SHARE * len(sample.recent)
    return is_lost, f"rows that were delivered are missing: {', and '.join(losses)}" if losses else ""


# ---- the lake and sources


def look_at_lake(
    opened: Callable[[], AbstractContextManager[LakeReader]],
    published: Callable[[RetriedObjects], AbstractContextManager[Sequence[TableFormat]]],
    pruned: int,
) -> Finding:
    """Check the project's lake: its position in the log, its size, and whether its tables can be continued.

    Args:
        pruned: The last sequence number that the store no longer has.
    """
    from shroff.lake.publication import stopped_tables
    from shroff.lake.reader import NoLakeError, shortage

    cure = "Until then, records moved there cannot be read. New events are decided." if pruned else LAKE_CURE
    try:
        with opened() as lake, published(lake.objects) as formats:
            if lake.last_seq < pruned:
                return Finding("lake", WRONG, shortage(lake.objects.address, lake.last_seq, pruned), cure)
            stopped = stopped_tables(lake.objects, [format_.name for format_ in formats])
            stopped += filter(None, (format_.trouble() for format_ in formats))
            if stopped:
                return Finding("lake", WRONG, stopped[0], "The lake's own files and other tables are not affected.")
            size = bytes_text(sum(file.bytes for file in lake.state.files.values()))
            message = f"{lake.objects.address} has the log up to sequence number {lake.last_seq:,}: "
            return Finding("lake", OK, f"{message}{many(len(lake.state.files), 'file')}, {size}")
    except NoLakeError as error:
        message = str(NoLakeError(error.address, pruned))
        return Finding("lake", WRONG, message, cure) if pruned else Finding("lake", NOTE, message)
    except ShroffError as error:
        return Finding("lake", WRONG, str(error), cure)


def source_finding(where: str, lags: Sequence[PartLag]) -> Finding:
    troubles = [f"{lag.part}: {lag.trouble}" for lag in lags if lag.trouble]
    silent = [lag.part for lag in lags if lag.waiting is None and lag.is_counted and not lag.trouble]
    parts = many(len(lags), "part")
    if troubles:
        shown = "; ".join(_without_twice(trouble) for trouble in troubles[:TROUBLE_SHOWN])
        more = f"; and {len(troubles) - TROUBLE_SHOWN:,} more" if len(troubles) > TROUBLE_SHOWN else ""
        cure = "'shroff sources positions' shows all partitions; 'shroff sources forget PART' resets one."
        return Finding("source", WRONG, f"{shown}{more}", cure)
    if silent:
        message = f"{where}: no answer from {', '.join(silent[:TROUBLE_SHOWN])}"
        return Finding("source", NOTE, message, "A worker waits for them. Check that all brokers run.")
    if not all(lag.is_counted for lag in lags):
        return Finding("source", OK, f"{where} answers: {parts}; the number of waiting messages is unknown")
    waiting = sum(lag.waiting or 0 for lag in lags)
    return Finding("source", OK, f"{where} answers: {parts}, {many(waiting, 'message')} to read")


def look_at_pushed(names: Iterable[str], troubles: Sequence[tuple[str, str, int]]) -> Iterator[Finding]:
    for name in names:
        if words := "; ".join(words for source, words, _ in troubles if source == name):
            yield Finding(f"source {name}", WRONG, words, "'shroff sources list' shows all subscriptions.")
        else:
            yield Finding(f"source {name}", OK, f"it is called at /hooks/{name}; messages can arrive")


def look_at_watched(aside: Iterable[tuple[str, str, int]]) -> Iterator[Finding]:
    by_place: dict[str, list[str]] = {}
    for location, words, _ in aside:
        by_place.setdefault(location, []).append(words)
    for location, reasons in by_place.items():
        yield Finding(location, WRONG, "; ".join(reasons), "'shroff sources check' lists all such files.")


def _without_twice(message: str) -> str:
    """Remove the partition's name if the message itself starts with it."""
    part, _, rest = message.partition(": ")
    return rest if rest.startswith(part) else message
