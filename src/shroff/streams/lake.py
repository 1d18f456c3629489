"""Object store of a lake: the contract of a folder or bucket, and retries on network errors.

An object store knows names and bytes, not their meaning. A lake relies on two guarantees: `put` never overwrites an
object, and `replace` overwrites only the version that the caller has seen.
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

NAME_BYTES_MAX = 900  # of a whole name: stores allow 1,024 with their prefix
PART_BYTES_MAX = 240  # between two slashes: file systems allow 255
WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)  # between attempts: a store that restarts or throttles is back by then
_PART = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*")
_PREFIX_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.=-]*")


class ListedObject(FrozenStruct):
    """Name and size in bytes of an object."""

    name: str
    size: int


class StoredObject(FrozenStruct):
    """Content of an object; `version` differs after each change."""

    data: bytes
    version: str


class Objects(Protocol):
    """A folder or bucket of objects. Every call sees the effects of all earlier calls, of any process.

    Names are parts between slashes (see `check_name`). Calls may come from several threads at once.

    Each call raises TransientError if the network fails or the store is too busy, which leaves open whether the call
    took effect; StorageError if the store refuses or the disk fails; UsageError if there is no such bucket. No message
    contains a credential.
    """

    @property
    def address(self) -> str:
        """Address for messages, without credentials."""

    def put(self, name: str, data: bytes) -> bool:
        """Create an object, atomic and durable on return; return False if one of this name exists, which stays."""

    def replace(self, name: str, data: bytes, version: str) -> bool:
        """Replace an object like `put`; return False, unchanged, if it is gone or has another version."""

    def get(self, name: str) -> StoredObject | None:
        """Return an object, or None."""

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        """List the objects below a folder (`a/b` has `a/b/c`, not `a/bc`), or all; sorted by the bytes of the name."""

    def delete(self, name: str) -> None:
        """Remove an object if it exists."""

    def close(self) -> None:
        """Release connections."""


def check_name(name: str) -> str:
    """Return the name if it is valid.

    Parts consist of letters, digits and `_.=-`. No part starts with a dot or is longer than 240 bytes; the whole name
    has at most 900. So every store and file system can hold it unchanged, and it stays below its folder.

    Raises: StateError if it is invalid, which is an error of the program.
    """
    parts = name.split("/")
    if len(name) > NAME_BYTES_MAX or not all(_PART.fullmatch(part) and len(part) <= PART_BYTES_MAX for part in parts):
        raise StateError(f"{name!r} is not a name of an object")
    return name


def bucket_and_prefix(address: str, scheme: str, bucket: re.Pattern[str]) -> tuple[str, str]:
    """Split an address such as `s3://bucket/prefix` into bucket and prefix.

    Raises: UsageError if it is invalid; the message omits an address that may contain a credential by mistake.
    """
    start, parted, path = address.partition("://")
    name, _, prefix = path.partition("/")
    prefix = prefix.strip("/")
    form = f"an address of a lake is as {scheme}://bucket or {scheme}://bucket/prefix"
    if start != scheme or not parted or not set("@?:").isdisjoint(path):
        raise UsageError(f"{form}; credentials come from the environment, not from the address.")
    if not bucket.fullmatch(name):
        raise UsageError(f"{name!r} is not a name of a bucket: {form}.")
    if prefix and not all(_PREFIX_PART.fullmatch(part) for part in prefix.split("/")):
        raise UsageError(f"{prefix!r} is not a prefix: its parts are of letters, digits and '_.=-'; {form}.")
    return name, prefix


class RetriedObjects(FrozenStruct):
    """An object store whose calls are retried five times if the network fails.

    The waits add up to 7.7 s; each request to a bucket may take up to 60 s more (`bucket.TIMEOUT`).

    Every call is safe to repeat. If `put` or `replace` returns False, the object is read, since an earlier attempt may
    have written it: equal content counts as written by this call. A caller that must know which of two equal writers
    was first has to write something that distinguishes them.
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

    def get(self, name: str) -> StoredObject | None:
        return self._patiently(lambda: self.objects.get(check_name(name)))

    def list(self, folder: str = "") -> Iterator[ListedObject]:
        return iter(self._patiently(lambda: [*self.objects.list(folder and check_name(folder))]))

    def delete(self, name: str) -> None:
        self._patiently(lambda: self.objects.delete(check_name(name)))

    def close(self) -> None:
        self.objects.close()

    def _has(self, name: str, data: bytes) -> bool:
        stored = self.get(name)
        return stored is not None and stored.data == data

    def _patiently(self, call: Callable[[], Given]) -> Given:
        for wait_s in WAITS_S:
            try:
                return call()
            except TransientError:
                self.sleep(wait_s)
        return call()


def digest(data: bytes) -> str:
    """Return the digest of an object's content: its SHA-256."""
    return sha256(data).hexdigest()


def damaged(objects: Objects, name: str, why: object) -> StorageError:
    """Return the error for a changed object."""
    return StorageError(
        f"{name} in {objects.address} is damaged ({why}). Bring it back from a copy of the lake. Where nothing was "
        "pruned, the log can also write a new lake into an empty place"
    )
