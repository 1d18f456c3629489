"""Object store of a lake: the contract of a folder or bucket, and retries on network errors.

A place of objects knows names and bytes, nothing of what they mean. What a lake rests on is that
`put` never writes over an object, and that `replace` writes over what the caller has seen, and nothing else.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Protocol, TypeVar

from shroff.errors import StateError, StorageError, TransientError, UsageError
from shroff.runtime.values import FrozenStruct

Given = TypeVar("Given")

NAME_BYTES_MAX = 900  # of a whole name: stores take 1,024 with their prefix
PART_BYTES_MAX = 240  # of what stands between two slashes: file systems take 255
WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)  # between tries: a store that is restarted or throttles is back by then
_PART = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*")
_PREFIX_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.=-]*")


class Listed(FrozenStruct):
    """An object's name, and its bytes as a number."""

    name: str
    size: int


class Found(FrozenStruct):
    """Content of an object; `version` is another after each change."""

    data: bytes
    version: str


class Objects(Protocol):
    """A folder or bucket of objects. What one call did, every later call sees, of whichever process.

    Names are parts between slashes (see `check_name`). Calls may come from several threads at once.

    Each call raises TransientError where the network fails or the store is too busy, which leaves open whether it did
    its work; StorageError where the store refuses or the disk fails; UsageError where there is no such bucket.
    Neither has a credential in its words.
    """

    @property
    def address(self) -> str:
        """Where it is, for people; no credential is in it."""

    def put(self, name: str, data: bytes) -> bool:
        """Make an object, whole and durable on return; False where there is one of this name, which stays."""

    def replace(self, name: str, data: bytes, version: str) -> bool:
        """Replace an object as `put`, unless it is gone or has another version by now: then False, and it stays."""

    def get(self, name: str) -> Found | None:
        """An object; None where there is none."""

    def list(self, folder: str = "") -> Iterator[Listed]:
        """The objects below a folder (`a/b` has `a/b/c`, not `a/bc`), all of them without one; by name, as bytes."""

    def delete(self, name: str) -> None:
        """Remove an object; that there is none is fine."""

    def close(self) -> None:
        """Let go of connections."""


def check_name(name: str) -> str:
    """The name, where it is one.

    Parts are of letters, digits and `_.=-`, none begins with a dot or is longer than 240 bytes, the whole is of
    900 at most. So every store and file system has them as they are, and none leads out of its folder.

    Raises: StateError where it is none, which is a mistake of the program.
    """
    parts = name.split("/")
    if len(name) > NAME_BYTES_MAX or not all(_PART.fullmatch(part) and len(part) <= PART_BYTES_MAX for part in parts):
        raise StateError(f"{name!r} is not a name of an object")
    return name


def bucket_and_prefix(address: str, scheme: str, bucket: re.Pattern[str]) -> tuple[str, str]:
    """The bucket and the prefix of an address such as `s3://bucket/prefix`.

    Raises: UsageError where it is none; its text shows no address, since a credential may stand in it by mistake.
    """
    start, parted, rest = address.partition("://")
    name, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    form = f"an address of a lake is as {scheme}://bucket or {scheme}://bucket/prefix"
    if start != scheme or not parted or "@" in rest or "?" in rest:
        raise UsageError(f"{form}; credentials come from the environment, not from the address.")
    if not bucket.fullmatch(name):
        raise UsageError(f"{name!r} is not a name of a bucket: {form}.")
    if prefix and not all(_PREFIX_PART.fullmatch(part) for part in prefix.split("/")):
        raise UsageError(f"{prefix!r} is not a prefix: its parts are of letters, digits and '_.=-'; {form}.")
    return name, prefix


class RetriedObjects(FrozenStruct):
    """Objects that are asked again where the network fails, for some eight seconds.

    Every call is harmless to repeat. A `put` or `replace` whose answer was lost is decided by reading the object:
    equal content is ours. So here `put` says whether the object has these bytes, whoever wrote them, and so does
    `replace`. Whoever needs to know which of two equal writers was first writes something that tells them apart.
    """

    objects: Objects
    sleep: Callable[[float], None] = time.sleep

    @property
    def address(self) -> str:
        return self.objects.address

    def put(self, name: str, data: bytes) -> bool:
        check_name(name)
        return self._patiently(lambda: self.objects.put(name, data)) or self._has(name, data)

    def replace(self, name: str, data: bytes, version: str) -> bool:
        check_name(name)
        return self._patiently(lambda: self.objects.replace(name, data, version)) or self._has(name, data)

    def get(self, name: str) -> Found | None:
        return self._patiently(lambda: self.objects.get(check_name(name)))

    def list(self, folder: str = "") -> Iterator[Listed]:
        return iter(self._patiently(lambda: [*self.objects.list(folder and check_name(folder))]))

    def delete(self, name: str) -> None:
        self._patiently(lambda: self.objects.delete(check_name(name)))

    def close(self) -> None:
        self.objects.close()

    def _has(self, name: str, data: bytes) -> bool:
        found = self.get(name)
        return found is not None and found.data == data

    def _patiently(self, call: Callable[[], Given]) -> Given:
        for wait_s in WAITS_S:
            try:
                return call()
            except TransientError:
                self.sleep(wait_s)
        return call()


def digest(data: bytes) -> str:
    """Digest of an object's content: its SHA-256."""
    return sha256(data).hexdigest()


def damaged(objects: Objects, name: str, why: object) -> StorageError:
    """The error for an object that is not as it was written."""
    return StorageError(
        f"{name} in {objects.address} is damaged ({why}). Bring it back from a copy of the lake. Where nothing was "
        "pruned, the log can also write a new lake into an empty place"
    )
