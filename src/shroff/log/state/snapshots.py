"""Snapshots of folded state: a start reads the tail of the log instead of all of it.

A snapshot equals the result of `fold`. It is used only if it was made from this very log by definitions that compute
the same; any other snapshot is ignored, which costs only time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

import shroff
from shroff.engine.exploration import LetThrough
from shroff.errors import PrunedError, StateError, StorageError, os_words
from shroff.events.labels import VerdictInForce
from shroff.json_types import TextDict
from shroff.log.history import Control
from shroff.log.state.fold import Folded, Progress, empty, fold, lateness_of
from shroff.project.definitions import Definitions
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import LogReader
from shroff.streams.snapshots import Header, Part, Snapshots

EVERY = 50_000  # records that a start reads without wanting a new snapshot: about a second
_VERSION = 1  # of the format of the parts


class Saved(FrozenStruct):
    file: Path
    seq: int
    bytes: int
    seconds: float


class _Head(msgspec.Struct, array_like=True):
    """The first part: all state except the engine's."""

    files: TextDict
    versions: TextDict
    watermark_ms: int | None
    standings: list[tuple[str, str, str, int]]
    let_through: list[tuple[tuple[str, int], int]] = []  # missing in snapshots of programs without exploration


def save(snapshots: Snapshots, log: LogReader, folded: Folded) -> Saved:
    """Write a snapshot of state whose events are all in the log.

    Raises: StorageError if it cannot be written.
    """
    started = time.monotonic()
    file = snapshots.write(header_of(log, folded), parts_of(folded))
    return Saved(file, folded.seq, file.stat().st_size, time.monotonic() - started)


def header_of(log: LogReader, folded: Folded) -> Header:
    """Return the header of a snapshot of this state; queries the log."""
    return Header(folded.seq, layout(folded), mark(log, folded.seq), folded.engine.online.keys)


def restore(
    snapshots: Snapshots, log: LogReader, definitions: Definitions, progress: Progress | None = None
) -> tuple[Folded, int, list[str]]:
    """Return the state at the end of the log, from the newest matching snapshot and the events after it.

    Also returns the snapshot's sequence number, 0 if none matches, and a warning for each snapshot that no start can
    use; these are removed if possible. Snapshots of other definitions stay and are ignored.
    """
    start, warnings = saved(snapshots, log, definitions)
    saved_seq = start.seq  # read before `fold` advances it
    return fold(log, definitions, None, progress, start), saved_seq, warnings


def copies_of(folded: Folded, log: LogReader) -> Callable[[], Folded]:
    """Return a function that creates independent copies of a state; queries the log once."""
    parts = [bytes(part) for part in parts_of(folded)]
    lateness_ms = lateness_of(log, folded.engine.definitions)
    return lambda: _taken_up(
        empty(folded.engine.definitions, lateness_ms), folded.seq, (memoryview(bytearray(part)) for part in parts)
    )


def saved(snapshots: Snapshots, log: LogReader, definitions: Definitions) -> tuple[Folded, list[str]]:
    """Return the state of the newest matching snapshot, or the empty state, and warnings as `restore`.

    Does not fold the log.
    """
    warnings: list[str] = []
    lateness_ms = lateness_of(log, definitions)
    return _newest(snapshots, log, lambda: empty(definitions, lateness_ms), warnings), warnings


def layout(folded: Folded) -> str:
    """Return a hash of everything that determines the meaning of an engine's state.

    The policy, rule tests, and lists that are only asked about the event being decided do not.
    """
    definitions = folded.engine.definitions
    versions = definitions.versions
    files = definitions.files
    lists = sha256(
        "\0".join(
            files.get(f"lists/{name}.csv", "")
            for name in sorted(name for kind, name in definitions.look_ups.kept if kind == "list")
        ).encode()
    )
    decisive = (versions.definitions, versions.rules, lists.hexdigest(), versions.tables)
    parts = (str(_VERSION), shroff.__version__, *decisive, folded.engine.online.layout())
    return sha256("\n".join(parts).encode()).hexdigest()


def mark(log: LogReader, seq: int) -> str:
    """Return the identity of a log up to a sequence number: a hash of its first record, with its time, and of this one.

    The first record distinguishes logs that were created separately. Two copies of one log that diverged have different
    records at this sequence number unless the difference kept all positions equal and this record is the same; only
    hashing every record would detect that. A restored old copy is shorter than the snapshot when the next writer
    starts, which removes the snapshot.
    """
    digest = sha256()
    for number in (1, seq):
        for records in log.read(number - 1, number):
            digest.update(msgspec.msgpack.encode(records))
    return digest.hexdigest()


def parts_of(folded: Folded) -> Iterator[Part]:
    standings = [
        (name, verdict.verdict, verdict.source, verdict.known_at_ms) for name, verdict in folded.standings.items()
    ]
    let_through = list(folded.engine.let_through.days.items())
    head = _Head(folded.control.files, folded.control.versions, folded.watermark_ms, standings, let_through)
    yield msgspec.msgpack.encode(head)
    yield from folded.engine.online.state()


def _newest(snapshots: Snapshots, log: LogReader, make: Callable[[], Folded], warnings: list[str]) -> Folded:
    for file in snapshots.files():
        folded = make()  # created for each file, since a partly restored state is useless
        try:
            expected = layout(folded)
            snapshot = snapshots.read(file, expected)
            if snapshot is None or (snapshot[0].seq <= log.last_seq() and snapshot[0].layout != expected):
                continue
            header, parts = snapshot
            _check_log(header, log)
            with calm_collector():
                return _taken_up(folded, header.seq, iter(parts))
        except (PrunedError, StorageError):  # of the log; the snapshot may be fine
            raise
        except StateError as error:
            warnings.append(_removed(snapshots, file, str(error)))
        except OSError as error:
            message = os_words(error, file, " cannot be read")
            warnings.append(f"snapshot {message}. What it holds is read from the log again.")
    return make()


def _removed(snapshots: Snapshots, file: Path, why: str) -> str:
    """Remove a snapshot that no start can use; return a message that it was removed or why it stays."""
    try:
        snapshots.remove(file)
    except StorageError as error:
        return f"snapshot {file.name} cannot be used: {why}. The log is read instead, at each start, since {error}."
    return f"snapshot {file.name} was removed: {why}. What it held is read from the log again."


def _check_log(header: Header, log: LogReader) -> None:
    if header.seq > log.last_seq():
        raise StateError(f"it ends at sequence number {header.seq:,}, and the log at {log.last_seq():,}")
    if header.log != mark(log, header.seq):
        raise StateError("it is of another log")


def _taken_up(folded: Folded, seq: int, parts: Iterator[Part]) -> Folded:
    try:
        head = msgspec.msgpack.decode(next(parts), type=_Head)
    except (msgspec.DecodeError, StopIteration):
        raise StateError("its first part cannot be read") from None
    folded.control = Control(head.versions, head.files)
    folded.watermark_ms = head.watermark_ms
    folded.standings = {
        name: VerdictInForce(verdict, source, known_at_ms) for name, verdict, source, known_at_ms in head.standings
    }
    folded.engine.let_through = LetThrough(head.let_through)
    folded.engine.online.restore(parts)
    folded.seq = seq
    return folded
