"""Key index: sequence numbers of each key's events and of their labels, derived from the log and safe to delete.

It knows hashes, so what it gives are places to look at, and may name one too many. What it covers it covers wholly;
behind that the log is read. It stands for the entities as one version declares them: another version that declares
the same ones uses it, and one that does not makes its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b, sha256
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from shroff.errors import PrunedError
from shroff.features.frames import Codes
from shroff.features.naive import Key, Naive
from shroff.language.values import key_text
from shroff.project.definitions import Definitions
from shroff.streams.key_runs import KeyRuns, Run
from shroff.streams.log import Log, LogReader

if TYPE_CHECKING:
    from shroff.log.columns.stored import LogPiece

PLACES: Final = 1 << 14  # of the log that a run covers when it is made; each question reads what is behind the last run
LEVEL: Final = 8  # as many runs of one size are put together
LARGEST: Final = 1 << 20  # places of a run: one of more would take more memory to make than it saves looks
LABEL: Final = "label of "  # before an entity: the key at the event that a label is about
_VERSION: Final = 2  # of what is hashed, and how
Words = NDArray[np.uint64]


class KeyIndex:
    """The index of one project's log.

    Args:
        folder: Where the indexes of all versions are.
    """

    def __init__(self, folder: Path, definitions: Definitions) -> None:
        self._definitions, self._folder = definitions, folder
        self.form = form_of(definitions)
        self._runs = KeyRuns(folder / self.form)

    def runs(self, log: Log) -> list[Run]:
        """Runs of this log, in its order; empty where none can be used. Cost: one read of the log."""
        found = self._runs.cover()
        is_ours = not found or found[-1].upto <= log.pruned_to() or _mark(log, found[-1].upto) == found[-1].mark
        starts_in_time = not found or found[0].after <= log.pruned_to()
        return found if is_ours and starts_in_time else []

    def lacks(self, log: Log) -> int:
        """How many places of the log it does not cover yet."""
        runs = self.runs(log)
        return log.last_seq() - (runs[-1].upto if runs else log.pruned_to())

    def extend(self, log: Log, progress: Callable[[int], None] | None = None) -> int:
        """Take in what is not covered, as far as it fills whole runs; gives how many places came.

        What was made of another log, or for entities as they were declared before, is removed.

        Raises: StorageError where the disk is full, read-only or failing.
        Cost: about 2 µs an event and entity, and 12 bytes on the disk.
        """
        from shroff.log.columns.stored import log_columns

        self._remove_others()
        runs = self.runs(log)
        if not runs:
            self._runs.remove()
        start = runs[-1].upto if runs else log.pruned_to()
        upto = start + (log.last_seq() - start) // PLACES * PLACES
        if upto == start:
            return 0
        for piece in log_columns(log, self._definitions, upto, after=start, places=PLACES, is_apart=True):
            self._take(log, piece)
            if progress is not None:
                progress(len(piece))
        return upto - start

    def _take(self, log: Log, piece: LogPiece) -> None:
        hashes, places = _hashes(piece, self._definitions)
        upto = piece.after + len(piece)
        self._runs.write(piece.after, upto, _mark(log, upto), hashes, places)
        while last := _of_one_size(self._runs.cover()):
            self._runs.put_together(last)

    def _remove_others(self) -> None:
        for path in self._folder.glob("*"):
            if path != self._runs.folder and path.is_dir():
                with suppress(OSError):
                    shutil.rmtree(path)


def places_of(runs: Sequence[Run], entity: str, key: Key, upto: int) -> Iterator[Sequence[int]]:
    """Places that may have a key of an entity, up to one, newest first, in parts."""
    hashed, size = key_hash(entity, key), 64
    for run in reversed(runs):
        places = run.of(hashed)
        end = int(np.searchsorted(places, upto - run.after, "right")) if upto < run.upto else len(places)
        while end > 0:
            start, size = max(0, end - size), min(2 * size, 1_024)
            yield (places[start:end][::-1].astype(np.int64) + run.after).tolist()
            end = start


def key_hash(entity: str, key: Key) -> int:
    """The hash of a key, of 64 bits, equal in every process and for ever."""
    text = key_text(key[0] if len(key) == 1 else key)
    hashed = blake2b(f"{entity}\n{text}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest(), "little")


def _hashes(piece: LogPiece, definitions: Definitions) -> tuple[Words, NDArray[np.uint32]]:
    """A hash for each key at each event or label, and the place in the piece, from 1."""
    keyed = Naive(definitions.events, (), definitions.reference)
    labels = [
        (key_hash(f"{LABEL}{entity}", key), row + 1)
        for row, label in piece.labels
        for entity in definitions.events.entities
        if (key := keyed.key(entity, label)) is not None
    ]
    hashes, places = (
        [np.array([seq for seq, _ in labels], np.uint64)],
        [np.array([at for _, at in labels], np.uint32)],
    )
    for name, frame in piece.frames.items():
        for entity, declared in definitions.events.entities.items():
            if name not in declared.keys:
                continue
            codes = Codes()
            found = frame.key_codes(entity, codes)
            is_there = found >= 0
            known = [key_hash(entity, key if isinstance(key, tuple) else (key,)) for key in codes.values]
            hashes.append(np.array(known, np.uint64)[found[is_there]])
            places.append((frame.rows[is_there] + 1).astype(np.uint32))
    return np.concatenate(hashes), np.concatenate(places)


def _of_one_size(runs: Sequence[Run]) -> Sequence[Run] | None:
    """The last runs, where as many as make a level have one size."""
    alike = list(takewhile(lambda run: run.size == runs[-1].size, reversed(runs)))
    is_one = len(alike) >= LEVEL and LEVEL * alike[0].size <= LARGEST
    return alike[LEVEL - 1 :: -1] if is_one else None


def form_of(definitions: Definitions) -> str:
    """Version tag of how keys are made."""
    entities = sorted((name, sorted(entity.keys.items())) for name, entity in definitions.events.entities.items())
    return sha256(f"{_VERSION}\n{entities!r}".encode()).hexdigest()[:16]


def _mark(log: LogReader, seq: int) -> bytes:
    """What tells a log from others at a place: a hash of its record; nothing is equal to it where that was pruned."""
    try:
        return sha256(msgspec.msgpack.encode(next(log.read(seq - 1, seq), []))).digest()
    except PrunedError:
        return b""
