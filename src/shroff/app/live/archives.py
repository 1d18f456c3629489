"""Archive of downloads by pulled sources, unchanged: in the lake under `raw/`, without a lake beside the log.

Each part has its SHA-256 in its name, and stays. A list beside them says which ones came last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import file_digest
from shutil import copyfileobj
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from shroff.app.lakes import Lakes
from shroff.config import make_folder, private
from shroff.errors import UsageError
from shroff.runtime.whole_files import whole_file
from shroff.streams.pull import NotKeptError

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.app.context import ProjectContext
    from shroff.streams.lake import Objects

RAW: Final = "raw"


class _Place(Protocol):
    """Where files are kept."""

    def put(self, name: str, path: Path) -> None: ...

    def write(self, name: str, data: bytes) -> None: ...

    def read(self, name: str) -> bytes | None: ...

    def names(self, folder: str) -> list[str]: ...


class _Beside:
    """A folder beside the log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, path: Path) -> None:
        to = self._folder / name
        make_folder(to.parent)
        with path.open("rb") as file, whole_file(to) as copy:
            copyfileobj(file, copy)

    def write(self, name: str, data: bytes) -> None:
        make_folder((self._folder / name).parent)
        with whole_file(self._folder / name) as file:
            file.write(data)

    def read(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        return sorted(f"{folder}/{path.name}" for path in (self._folder / folder).glob("*"))


class _InLake:
    """The lake's objects."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def put(self, name: str, path: Path) -> None:
        self._objects.put(name, path.read_bytes())

    def write(self, name: str, data: bytes) -> None:
        is_written = False
        while not is_written:
            found = self._objects.get(name)
            is_written = (
                self._objects.put(name, data) if found is None else self._objects.replace(name, data, found.version)
            )

    def read(self, name: str) -> bytes | None:
        found = self._objects.get(name)
        return None if found is None else found.data

    def names(self, folder: str) -> list[str]:
        return [stored.name for stored in self._objects.list(folder)]


class KeptArchives:
    """The archives of one source, as `streams.pull.Archives`."""

    def __init__(self, context: ProjectContext, source: str) -> None:
        self._context, self._source = context, source

    def keep(self, name: str, paths: Sequence[Path]) -> None:
        kept = [f"{name}-{number}-{_digest(path)}{path.suffix}" for number, path in enumerate(paths, 1)]
        with self._places() as (place, *_):
            for file, path in zip(kept, paths, strict=True):
                place.put(self._named(file), path)
            place.write(self._named(f"{name}.json"), msgspec.json.encode(kept))

    def bring(self, name: str, folder: Path) -> list[Path]:
        with self._places() as places:
            for place in places:
                kept = self._kept(place, name)
                if kept is not None:
                    return [self._brought(place, file, folder) for file in kept]
        raise NotKeptError(f"there is no stored archive of {name} of {self._source}. Omit --from-backup to get it.")

    @contextmanager
    def _places(self) -> Iterator[list[_Place]]:
        """Where files are kept, then where they were kept before there was a lake."""
        beside = _Beside(self._context.paths.state)
        with ExitStack() as held:
            if self._context.systems.lake is None:
                yield [beside]
            else:
                yield [_InLake(held.enter_context(Lakes(self._context).open()).objects), beside]

    def _named(self, name: str) -> str:
        return f"{RAW}/{self._source}/{name}"

    def _kept(self, place: _Place, name: str) -> list[str] | None:
        """The parts that came last, without a list all that are kept; None where nothing is."""
        listed = place.read(self._named(f"{name}.json"))
        if listed is not None:
            return msgspec.json.decode(listed, type=list[str])
        found = [stored.rpartition("/")[2] for stored in place.names(f"{RAW}/{self._source}")]
        return [file for file in found if file.startswith(f"{name}-")] or None

    def _brought(self, place: _Place, name: str, folder: Path) -> Path:
        path = folder / name
        with private(path) as file:
            file.write(place.read(self._named(name)) or b"")
        if _digest(path) not in name:
            raise UsageError(f"{self._named(name)} is damaged or gone: its SHA-256 is not the one in its name.")
        return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
