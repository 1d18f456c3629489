"""Objects in memory: for tests of what is built on them, and of the contract itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from shroff.errors import TransientError
from shroff.streams.lake import ListedObject, StoredObject, check_name

Given = TypeVar("Given")


@dataclass(slots=True)
class MemoryObjects:
    """Keeps every promise of `streams.lake.Objects` but that it outlives its process."""

    objects: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    address: str = "memory"
    _changes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def put(self, name: str, data: bytes) -> bool:
        with self._lock:
            if check_name(name) in self.objects:
                return False
            self._set(name, data)
            return True

    def replace(self, name: str, data: bytes, version: str) -> bool:
        with self._lock:
            if name not in self.objects or str(self.objects[name][1]) != version:
                return False
            self._set(name, data)
            return True

    def get(self, name: str) -> StoredObject | None:
        found = self.objects.get(check_name(name))
        return None if found is None else StoredObject(found[0], str(found[1]))

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        start = f"{check_name(folder)}/" if folder else ""
        return iter(
            [ListedObject(name, len(self.objects[name][0])) for name in sorted(self.objects) if name.startswith(start)]
        )

    def delete(self, name: str) -> None:
        self.objects.pop(check_name(name), None)

    def close(self) -> None:
        """Nothing is open."""

    def _set(self, name: str, data: bytes) -> None:
        self._changes += 1
        self.objects[name] = data, self._changes


@dataclass(slots=True)
class FaultyObjects(MemoryObjects):
    """The same behind a network that fails: `fails` says of each call whether it is lost, and where."""

    fails: Callable[[str], str] = lambda _call: ""

    def put(self, name: str, data: bytes) -> bool:
        return self._through("put", lambda: MemoryObjects.put(self, name, data))

    def replace(self, name: str, data: bytes, version: str) -> bool:
        return self._through("replace", lambda: MemoryObjects.replace(self, name, data, version))

    def get(self, name: str) -> StoredObject | None:
        return self._through("get", lambda: MemoryObjects.get(self, name))

    def _through(self, call: str, work: Callable[[], Given]) -> Given:
        """Do the work; lose the call on its way there (`before`), or its answer on its way back (`after`)."""
        fault = self.fails(call)
        if fault == "before":
            raise TransientError(f"{call} was lost.")
        answer = work()
        if fault == "after":
            raise TransientError(f"the answer to {call} was lost.")
        return answer
