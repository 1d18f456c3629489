"""Copies of snapshots in a folder or bucket, so that a start on another machine need not read the whole log.

A copy is an object for each `PART_BYTES`, and one that lists them, put last: without it the copy does not count. All
are in a folder for their log, and the newest few are kept.

    0123456789abcdef/000000812000-89abcdef01234567.json
    0123456789abcdef/000000812000-89abcdef01234567/00000.part
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StateError, StorageError, os_words
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.state_folder import FILE_MODE, make_folder
from shroff.runtime.values import FrozenStruct
from shroff.streams.lake import RetriedObjects, damaged
from shroff.streams.snapshots import SUFFIX, Snapshots

PART_BYTES = 32 * 1024 * 1024  # held in memory at once
FETCHED = ".fetched.tmp"  # suffix of a copy being fetched; the next snapshot removes leftovers
_NAME = re.compile(r"(\d{12})-[0-9a-f]{16}")


class Copy(FrozenStruct):
    """One copy: the sequence number of its state, and the SHA-256 of each of its parts."""

    name: str
    seq: int
    bytes: int
    parts: list[str]


class SnapshotCopies:
    """The copies of one log's snapshots.

    Args:
        objects: The object store.
        log: The name of their folder, which identifies the log.
        kept: How many copies remain when one is written.
    """

    def __init__(self, objects: RetriedObjects, log: str, *, kept: int) -> None:
        self.objects = objects
        self.log = log
        self._kept = max(kept, 1)

    @property
    def address(self) -> str:
        return f"{self.objects.address}/{self.log}"

    def all(self) -> list[str]:
        """Return the names of the copies, newest first. Raises: as `Objects.list`."""
        names = (stored.name.removeprefix(f"{self.log}/") for stored in self.objects.list(self.log))
        copies = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return sorted((name for name in copies if _NAME.fullmatch(name)), reverse=True)

    def write(self, file: Path) -> Copy:
        """Copy a snapshot, unless the copy exists, and remove all older copies but the newest.

        Raises: OSError if the file cannot be read, such as when a newer one replaced it; else as `Objects.put`.
        """
        with file.open("rb") as snapshot:
            snapshot.seek(-8, 2)  # the end of its checksum distinguishes it from others with this sequence number
            name = f"{int(file.stem):012d}-{snapshot.read(8).hex()}"
            snapshot.seek(0)
            parts: list[str] = []
            while data := snapshot.read(PART_BYTES):
                self._put(f"{name}/{len(parts):05d}.part", data)
                parts.append(sha256(data).hexdigest())
            size = snapshot.tell()
        copy = Copy(name, int(file.stem), size, parts)
        self._put(f"{name}.json", to_json(copy))
        self._remove_all_but(name)
        return copy

    def fetch(self, snapshots: Snapshots, upto: int, tell: Callable[[str], None]) -> Path | None:
        """Fetch the newest complete copy up to a sequence number, if it is newer than the local snapshots.

        A damaged copy is reported and skipped. Raises: StorageError if it cannot be written locally; else as
        `Objects.get`.
        """
        here = next((int(file.stem) for file in snapshots.files() if _is_whole(snapshots, file)), 0)
        for name in self.all():
            seq = int(name.partition("-")[0])
            if seq > upto:
                continue
            if seq <= here:
                return None
            try:
                return self._fetch_copy(name, snapshots)
            except _DamagedError as error:
                tell(f"the copy {name} in {self.address} is passed over: {error}")
        return None

    def _fetch_copy(self, name: str, snapshots: Snapshots) -> Path:
        target = snapshots.folder / f"{int(name.partition('-')[0]):012d}{SUFFIX}"
        unfinished = target.with_suffix(FETCHED)
        try:
            make_folder(snapshots.folder)
            with whole_file(target, unfinished, mode=FILE_MODE, is_durable=False) as file:
                for data in self._parts(name):
                    file.write(data)
                file.flush()
                try:
                    is_ours = snapshots.check(unfinished) is not None
                except StateError as error:
                    raise _DamagedError(str(error)) from None
                if not is_ours:
                    raise _DamagedError("it is of another version of shroff")
        except OSError as error:
            raise StorageError(os_words(error, target, " cannot be written")) from error
        return target

    def _parts(self, name: str) -> Iterator[bytes]:
        stored = self.objects.get(f"{self.log}/{name}.json")
        if stored is None:
            raise _DamagedError("it no longer exists")
        try:
            copy = from_json(stored.data, type=Copy)
        except msgspec.DecodeError as error:
            raise _DamagedError(f"{name}.json cannot be read ({error})") from None
        for number, digest in enumerate(copy.parts):
            part = self.objects.get(f"{self.log}/{name}/{number:05d}.part")
            if part is None or sha256(part.data).hexdigest() != digest:
                raise _DamagedError(f"part {number} is {'damaged' if part else 'not there'}")
            yield part.data

    def _put(self, name: str, data: bytes) -> None:
        if not self.objects.put(f"{self.log}/{name}", data):
            raise damaged(self.objects, f"{self.log}/{name}", "other bytes stand under its name")

    def _remove_all_but(self, newest: str) -> None:
        """Remove older copies, and older parts without one. Newer ones belong to another process."""
        keep = set(self.all()[: self._kept])
        names = [stored.name for stored in self.objects.list(self.log)]
        # The list of parts goes before its parts.
        for name in sorted(names, key=lambda name: not name.endswith(".json")):
            copy = _NAME.match(name.removeprefix(f"{self.log}/"))
            if copy is not None and copy[0] < newest and copy[0] not in keep:
                self.objects.delete(name)


class _DamagedError(StateError):
    """A copy has changed since it was written."""


def _is_whole(snapshots: Snapshots, file: Path) -> bool:
    try:
        return snapshots.check(file) is not None
    except (StateError, OSError):
        return False
