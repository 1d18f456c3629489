"""Archive of unchanged downloads by pulled sources: in the lake under `raw/`, or beside the log without a lake.

Each name has the file's SHA-256; files are never removed. Parts after the first `PART_BYTES` are files of their own. A
list beside them names the parts of the last download.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from hashlib import file_digest
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import UsageError
from shroff.runtime.state_folder import open_private
from shroff.services.lake.project_lake import Lakes
from shroff.streams.pull import NotKeptError
from shroff.streams.snapshot_copies import PART_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.services.context import ProjectContext
    from shroff.streams.lake import Objects

RAW = "raw"


class KeptArchives(Struct, eq=False):
    """The archives of one source, as `streams.pull.Archives`."""

    _context: ProjectContext
    _source: str

    def keep(self, name: str, paths: Sequence[Path]) -> None:
        kept = [f"{name}-{number}-{_digest(path)}{path.suffix}" for number, path in enumerate(paths, 1)]
        listed, is_written = self._named(f"{name}.json"), False
        with self._places() as (place, *_):
            for file, path in zip(kept, paths, strict=True):
                with path.open("rb") as opened:
                    for number, data in enumerate(iter(partial(opened.read, PART_BYTES), b"")):
                        place.put(self._named(_part(file, number)), data)
            while not is_written:
                found, data = place.get(listed), to_json(kept)
                is_written = place.replace(listed, data, found.version) if found else place.put(listed, data)

    def bring(self, name: str, folder: Path) -> list[Path]:
        with self._places() as places:
            for place in places:
                kept = self._kept(place, name)
                if kept is not None:
                    return [self._brought(place, file, folder) for file in kept]
        raise NotKeptError(f"there is no stored archive of {name} of {self._source}. Omit --from-backup to get it.")

    @contextmanager
    def _places(self) -> Iterator[list[Objects]]:
        """Yield the object store in use, then the one used before the project had a lake."""
        lakes = Lakes(self._context)
        with ExitStack() as stack:
            lake = [stack.enter_context(lakes.open()).objects] if self._context.systems.lake else []
            yield [*lake, stack.enter_context(lakes.objects_at({}, str(self._context.paths.state)))]

    def _named(self, name: str) -> str:
        return f"{RAW}/{self._source}/{name}"

    def _kept(self, objects: Objects, name: str) -> list[str] | None:
        """List the parts of the last download, or all if that has no list; None if there are none."""
        if (listed := objects.get(self._named(f"{name}.json"))) is not None:
            return from_json(listed.data, type=list[str])
        names = [stored.name.rpartition("/")[2] for stored in objects.list(f"{RAW}/{self._source}")]
        return [file for file in names if file.startswith(f"{name}-")] or None

    def _brought(self, objects: Objects, name: str, folder: Path) -> Path:
        path = folder / name
        with open_private(path) as file:
            number = 0
            while content := objects.get(self._named(_part(name, number))):
                file.write(content.data)
                number += 1
        if _digest(path) not in name:
            raise UsageError(f"{self._named(name)} is damaged or gone: its SHA-256 is not the one in its name.")
        return path


def _part(file: str, number: int) -> str:
    """Return the name of a part. Its prefix keeps it from being taken for the archive."""
    return f"part-{number}-{file}" if number else file


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
