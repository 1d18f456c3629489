"""What a disk holds after the power failed: operations on files in their order, and the images they may leave behind.

A model of the worst that a file system with a journal may do, for tests that lose nothing:

- What was written to a file is safe once that file was synced. Before, each 512-byte sector of each write may have
  reached the disk or not, whatever its order; a file made longer holds zeros where nothing came.
- A name that is new, of a file or of a folder, is safe once the folder that it stands in was synced. Before, it and all
  that is below it may be gone. (On ext4, XFS and Btrfs the sync of a file is enough; POSIX promises it nowhere.)
- A name that was moved or removed is so for certain once its folder was synced. Before, it may be there again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from random import Random
from typing import Final, TypeAlias

SECTOR_BYTES: Final = 512
_FOLDER: Final = -1  # stands for a folder among the numbers of files


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes that were put into a file. Files go by number, since their names change."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A file that was made so long: shorter, or longer with zeros."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    file: int


@dataclass(frozen=True, slots=True)
class Named:
    """A name, with folders and below the disk's root, for a file; the file may be new."""

    path: str
    file: int


@dataclass(frozen=True, slots=True)
class Made:
    """A new folder, below the disk's root."""

    path: str


@dataclass(frozen=True, slots=True)
class Dropped:
    path: str


@dataclass(frozen=True, slots=True)
class Moved:
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class FolderSynced:
    """A folder whose names are safe; `.` is the root."""

    folder: str


@dataclass(frozen=True, slots=True)
class RouteDoc:
    """No operation: the program told somebody something here, for instance that a batch is stored."""

    words: str
    number: int = 0


Operation: TypeAlias = Written | Cut | Synced | Named | Made | Dropped | Moved | FolderSynced | RouteDoc
_Change: TypeAlias = Written | Cut
_Naming: TypeAlias = Named | Made | Dropped | Moved


class Disk:
    """A disk behind a number of operations: what is safe on it, and what is only on its way.

    Begins with `files`, which are safe with the folders that they are in; they have the numbers from 0 on, in the
    order given.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._safe: dict[int, bytes] = dict(enumerate(files.values()))
        self._names: dict[str, int] = {folder: _FOLDER for path in files for folder in _above(path)}
        self._names |= {path: number for number, path in enumerate(files)}
        self._changes: defaultdict[int, list[_Change]] = defaultdict(list)
        self._namings: list[_Naming] = []

    def take(self, operation: Operation) -> None:
        """Do one operation."""
        match operation:
            case Written(file) | Cut(file):
                self._changes[file].append(operation)
            case Named() | Made() | Dropped() | Moved():
                self._namings.append(operation)
            case Synced(file):
                self._safe[file] = _changed(self._safe.get(file, b""), self._changes.pop(file, []))
            case FolderSynced(folder):
                self._settle([naming for naming in self._namings if folder in _folders(naming)])
            case RouteDoc():
                return

    def safe(self) -> dict[str, bytes]:
        """The files as they stood when each was last synced: all that was on its way is lost."""
        return {path: self._safe.get(file, b"") for path, file in _found(self._names)}

    def named(self) -> dict[str, bytes]:
        """All names as the program left them, and of the contents only what is safe: often files of no bytes."""
        return {path: self._safe.get(file, b"") for path, file in _found(_renamed(self._names, self._namings))}

    def torn(self, chance: Random) -> dict[str, bytes]:
        """Some of what was on its way came, in any order, sectors torn apart."""
        share = chance.choice((0.1, 0.5, 0.9))
        names = _renamed(self._names, [naming for naming in self._namings if chance.random() < share])
        return {path: self._torn_file(file, share, chance) for path, file in _found(names)}

    def whole(self) -> dict[str, bytes]:
        """Everything came: what the program itself sees, and what SIGKILL leaves."""
        return {
            path: _changed(self._safe.get(file, b""), self._changes.get(file, []))
            for path, file in _found(_renamed(self._names, self._namings))
        }

    def _torn_file(self, file: int, share: float, chance: Random) -> bytes:
        came: list[_Change] = []
        for change in self._changes.get(file, []):
            if isinstance(change, Cut) or chance.random() < 0.5:
                came += [change] if chance.random() < share else []
            else:
                came += [sector for sector in _sectors(change) if chance.random() < share]
        return _changed(self._safe.get(file, b""), came)

    def _settle(self, certain: Collection[_Naming]) -> None:
        """Make these safe, and with them whatever came before to the same names."""
        settled: list[_Naming] = []
        paths: set[str] = set()
        for naming in reversed(self._namings):
            if naming in certain or not paths.isdisjoint(_paths(naming)):
                settled.append(naming)
                paths.update(_paths(naming))
        self._names = _renamed(self._names, reversed(settled))
        self._namings = [naming for naming in self._namings if naming not in settled]


def _changed(data: bytes, changes: Iterable[_Change]) -> bytes:
    """The bytes of a file after changes."""
    made = bytearray(data)
    for change in changes:
        end = change.size if isinstance(change, Cut) else change.offset + len(change.data)
        if end > len(made):
            made.extend(bytes(end - len(made)))
        if isinstance(change, Cut):
            del made[end:]
        else:
            made[change.offset : end] = change.data
    return bytes(made)


def _sectors(written: Written) -> list[Written]:
    """A write in pieces, none across the edge of a sector of its file."""
    start, end = written.offset, written.offset + len(written.data)
    edges = [start, *range(start - start % SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
    return [Written(written.file, first, written.data[first - start : last - start]) for first, last in pairwise(edges)]


def _renamed(names: Mapping[str, int], namings: Iterable[_Naming]) -> dict[str, int]:
    """The names after namings; one that has nothing to name does nothing."""
    made = dict(names)
    for naming in namings:
        match naming:
            case Named(path, file):
                made[path] = file
            case Made(path):
                made[path] = _FOLDER
            case Dropped(path):
                made.pop(path, None)
            case Moved(old, new) if old in made:
                made[new] = made.pop(old)
    return made


def _found(names: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The files among names that can be found: every folder above them is there."""
    for path, file in names.items():
        if file != _FOLDER and all(folder in names for folder in _above(path)):
            yield path, file


def _above(path: str) -> list[str]:
    """The folders that a path is in, but for the root."""
    return [str(folder) for folder in PurePosixPath(path).parents[:-1]]


def _paths(naming: _Naming) -> tuple[str, ...]:
    return (naming.old, naming.new) if isinstance(naming, Moved) else (naming.path,)


def _folders(naming: _Naming) -> set[str]:
    return {str(PurePosixPath(path).parent) for path in _paths(naming)}
