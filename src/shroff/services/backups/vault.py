"""Vault with the backups of one project: a folder or bucket of pieces, and of points that name them.

    shroff-backup         the project's id, and whether backups are encrypted
    pieces/3f/3f9c...     a piece of a file, compressed, named by the hash of its content
    points/000000000017   one moment: the pieces of each file, and the hash of the point before

A point is written last, so an interrupted backup leaves only pieces that nothing names. A piece is stored once, however
many points name it. No object is ever changed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import StorageError, UsageError, os_words
from shroff.json_types import TextDict
from shroff.runtime.state_folder import FOLDER_MODE
from shroff.runtime.values import FrozenStruct
from shroff.streams.lake import Objects

FILE_FORMAT = 1  # logs in files
SERVER_FORMAT = 2  # logs in database servers, which an earlier program does not restore
LABEL, PIECES, POINTS = "shroff-backup", "pieces", "points"
KEY_BYTES = 32
NONCE_BYTES = 12  # of AES-GCM
PIECE_BYTES_MAX = 64 * 1024 * 1024  # unpacked: 512 pages of 64 KiB and their numbers, twice
READERS = 8  # pieces read in parallel: 30 ms each from a bucket; 64 MB of memory
WRITERS = 4  # pieces compressed and stored in parallel
POINT_READERS = 32  # points, of a few kB each
PACKED = 1  # of zlib: rows of a log take a quarter of their bytes, and 60 MB a second and core
Read = TypeVar("Read")
Asked = TypeVar("Asked")


class DamagedError(StorageError):
    """Something in a backup is missing or altered, as against what cannot be read now."""


class BackupLabel(FrozenStruct):
    """Owner of the backups in a vault. `proof` shows whether a key is the one that encrypted them."""

    shroff_backup: int
    id: str
    name: str
    proof: str = ""


class DumpedLog(FrozenStruct):
    """A log in a database server: its kind, its schema or prefix, and the program that dumped it.

    `position` is where the server's own change log continues, such as `binlog.000007:4711`.
    """

    kind: str
    tables: str
    made_by: str
    position: str = ""


class BackedUpLog(FrozenStruct):
    """The SQLite file of a log at a point: all of it, or the pages that changed since the point before.

    For a log in a server, `whole` is the complete dump. `read_to` is the position in the write-ahead log (see
    `sqlite_pages.PagePosition`).
    """

    page_bytes: int
    pages: int
    read_to: tuple[str, int, str]
    whole: list[str] | None  # pieces of the file in order
    changed: list[str]  # pieces of changed pages, in order
    last_seq: int
    dump: DumpedLog | None = None


class BackupPoint(FrozenStruct):
    """One moment of a project. A full point needs no other; a tail point needs those back to the last full one."""

    project: str  # id of the label
    number: int
    at_ms: int
    is_full: bool
    before: str  # hash of the point before
    program: str
    log: BackedUpLog | None
    files: dict[str, tuple[int, list[str]]] | None  # permissions and pieces; None as at the point before
    secrets: TextDict  # fingerprints of files that are never in a backup
    bytes: int  # stored with this point

    @property
    def last_seq(self) -> int:
        """Last sequence number of the log; 0 without one."""
        return self.log.last_seq if self.log else 0


class Vault:
    """The backups of one project.

    Args:
        objects: The store that holds them.
        key: 32 bytes; None for no encryption.
    """

    def __init__(self, objects: Objects, key: bytes | None = None) -> None:
        self._objects = objects
        self._key = None if key is None else _derived(key, "names")  # one key for each use
        self._seal = None if key is None else _sealing(_derived(key, "content"))
        self.address = objects.address
        self.label: BackupLabel | None = None
        self._known: set[str] | None = None
        self.is_distrusting = False  # existing pieces are read and compared before reuse
        self.stored, self._counting = 0, Lock()  # bytes, since this was opened

    # Label

    def open(self, id: str = "") -> BackupLabel:
        """Read the label. With `id`, the backups must belong to that project.

        Raises: UsageError if there are none, of another project, or with another key.
        """
        stored = self._objects.get(LABEL)
        if stored is None:
            raise UsageError(f"{self.address} has no backups of shroff. {_MAKE}")
        self.label = label = self._decoded(stored.data, BackupLabel, LABEL)
        if label.shroff_backup not in {FILE_FORMAT, SERVER_FORMAT}:
            raise UsageError(
                f"{self.address} has backups of format {label.shroff_backup}, and this program reads formats "
                f"{FILE_FORMAT} and {SERVER_FORMAT}. Use the program that made them."
            )
        if id and label.id != id:
            raise UsageError(
                f"{self.address} has the backups of another project, {label.name!r}. Name another place: each project "
                "needs its own."
            )
        if bool(label.proof) != (self._key is not None):
            needs = "are encrypted: name the key file" if label.proof else "are not encrypted: leave the key file out"
            raise UsageError(f"the backups at {self.address} {needs} ('key' under 'backup:', or --key).")
        if self._key is not None and not hmac.compare_digest(label.proof, _derived(self._key, label.id).hex()):
            raise UsageError(f"the backups at {self.address} were encrypted with another key.")
        return label

    def begin(self, id: str, name: str, format: int = FILE_FORMAT) -> BackupLabel:
        """Return the label, creating it if there is none. Raises: as `open`."""
        label = BackupLabel(format, id, name, "" if self._key is None else _derived(self._key, id).hex())
        if self._objects.get(LABEL) is None:
            if any(True for _ in self._objects.list()):
                raise UsageError(f"{self.address} has other files. Name an empty folder or prefix for backups.")
            if Path(self.address).is_absolute():  # backups contain entity keys in clear
                Path(self.address).mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            self._objects.put(LABEL, to_json(label))
        if (existing := self.open(id)).shroff_backup != format:
            where = "files" if existing.shroff_backup == FILE_FORMAT else "a database server"
            raise UsageError(f"{self.address} has backups of this project's log in {where}. Name another place.")
        return existing

    # Pieces

    def put(self, data: bytes) -> str:
        """Store a piece unless it exists; return its name."""
        name = self._name(data)
        if self._known is None:
            self._known = set(self.pieces())
        if name in self._known and self.is_distrusting:
            try:
                self.get(name)
            except DamagedError:
                self.remove_piece(name)
        if name not in self._known:
            packed = self._closed(zlib.compress(data, PACKED), name)
            self._objects.put(_piece(name), packed)
            with self._counting:
                self.stored += len(packed)
            self._known.add(name)
        return name

    def put_all(self, pieces: Iterable[bytes]) -> list[str]:
        if self._known is None:
            self._known = set(self.pieces())
        return list(_ahead(self.put, pieces, WRITERS))

    def get(self, name: str) -> bytes:
        """Read a piece. Raises: DamagedError if it is missing or altered; StorageError as `Objects.get`."""
        stored = self._objects.get(_piece(name))
        if stored is None:
            raise DamagedError(f"{self.address}: the piece {name} is missing, so this backup is incomplete. {_CURE}")
        packed = zlib.decompressobj()
        try:
            data = packed.decompress(self._opened(stored.data, name), PIECE_BYTES_MAX)
        except zlib.error:
            raise self._altered(_piece(name)) from None
        if not packed.eof or self._name(data) != name:
            raise self._altered(_piece(name))
        return data

    def contents(self, names: Iterable[str]) -> Iterator[bytes]:
        """Read pieces in order, several in parallel. Raises: as `get`."""
        return _ahead(self.get, names, READERS)

    def pieces(self) -> dict[str, int]:
        return {piece.name.rpartition("/")[2]: piece.size for piece in self._objects.list(PIECES)}

    def remove_piece(self, name: str) -> None:
        self._objects.delete(_piece(name))
        if self._known is not None:
            self._known.discard(name)

    # Points

    def numbers(self) -> list[int]:
        """List the points, oldest first."""
        names = (point.name.rpartition("/")[2] for point in self._objects.list(POINTS))
        return [int(name) for name in names if name.isdecimal()]

    def point(self, number: int) -> tuple[BackupPoint, str]:
        """Read a point and its hash. Raises: DamagedError if it is altered; StorageError if it cannot be read."""
        name = point_name(number)
        stored = self._objects.get(name)
        if stored is None:
            raise StorageError(f"{self.address}: the point {number} is missing. {_CURE}")
        digest, _, body = self._opened(stored.data, name).partition(b"\n")
        if digest.decode("ascii", "replace") != hashlib.sha256(body).hexdigest():
            raise self._altered(name)
        point = self._decoded(body, BackupPoint, name)
        if point.number != number:
            raise self._altered(name)
        if self.label is not None and point.project != self.label.id:
            raise DamagedError(f"{self.address}: {name} is of another project. {_CURE}")
        return point, digest.decode()

    def readable(self, told: type[StorageError] = StorageError) -> tuple[list[BackupPoint], dict[int, str]]:
        """Return the readable points, oldest first, and the error of each other one by number.

        Raises: StorageError of other kinds than `told`.
        """

        def read(number: int) -> BackupPoint | str:
            try:
                return self.point(number)[0]
            except told as error:
                return str(error)

        numbers = self.numbers()
        results = list(zip(numbers, _ahead(read, numbers, POINT_READERS), strict=True))
        points = [point for _, point in results if isinstance(point, BackupPoint)]
        return points, {number: why for number, why in results if isinstance(why, str)}

    def add(self, point: BackupPoint) -> str:
        """Store a point; return its hash. Raises: UsageError if another process stored this number."""
        body, name = to_json(point), point_name(point.number)
        digest = hashlib.sha256(body).hexdigest()
        if not self._objects.put(name, self._closed(digest.encode() + b"\n" + body, name)):
            raise UsageError(
                f"{self.address}: another process made the backup {point.number} meanwhile. Only one process may make "
                "backups of a project; stop the other one, such as the project that this one was restored from."
            )
        return digest

    def remove_point(self, number: int) -> None:
        self._objects.delete(point_name(number))

    def chain(self, number: int) -> Iterator[tuple[BackupPoint, str]]:
        """Yield a point and those that it needs, newest first. Raises: StorageError if one is missing or altered."""
        expected = None
        for point, digest in _ahead(self.point, range(number, 0, -1), POINT_READERS):
            if expected not in {None, digest}:
                raise self._altered(point_name(point.number))
            yield point, digest
            if point.is_full:
                return
            expected = point.before
        raise StorageError(f"{self.address} has no full backup at or before {number}. {_CURE}")

    # Names and encryption

    def _name(self, data: bytes) -> str:
        if self._key is None:
            return hashlib.sha256(data).hexdigest()
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()  # so that names reveal nothing of the content

    def _closed(self, data: bytes, name: str) -> bytes:
        if self._seal is None:
            return data
        nonce = os.urandom(NONCE_BYTES)
        sealed: bytes = self._seal.encrypt(nonce, data, name.encode())
        return nonce + sealed

    def _opened(self, data: bytes, name: str) -> bytes:
        if self._seal is None:
            return data
        try:
            opened: bytes = self._seal.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], name.encode())
        except Exception:  # noqa: BLE001 - InvalidTag, and ValueError if too short
            raise self._altered(name) from None
        return opened

    def _decoded(self, data: bytes, kind: type[Read], name: str) -> Read:
        try:
            return from_json(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._altered(name) from None

    def _altered(self, name: str) -> DamagedError:
        return DamagedError(f"{self.address}: {name} was truncated or altered. {_CURE}")


_MAKE = "Make one with 'shroff backup create'."
_CURE = "'shroff backup verify' shows which backups can be restored"


def points_of(vault: Vault) -> list[int]:
    """List the points of a vault, oldest first. Raises: UsageError if there is none; as `Vault.open`."""
    vault.open()
    if numbers := vault.numbers():
        return numbers
    hint = "Its pieces are of one that was stopped before its end, and the next one uses them. "
    raise UsageError(f"{vault.address} has no complete backup. {hint if vault.pieces() else ''}{_MAKE}")


def read_key(path: Path) -> bytes:
    """Read a key file of 64 hexadecimal digits. Raises: UsageError if it has none."""
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise UsageError(f"the key file {os_words(error, path, ' cannot be read')}.") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(f"{path} holds no key: expected 64 hexadecimal digits, as 'openssl rand -hex 32' writes them.")
    return key


def _sealing(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise UsageError("encrypted backups need cryptography: install shroff[backup].") from None
    return AESGCM(key)


def _derived(key: bytes, use: str) -> bytes:
    return hmac.new(key, f"shroff backup {use}".encode(), hashlib.sha256).digest()


def _ahead(read: Callable[[Asked], Read], keys: Iterable[Asked], most: int) -> Iterator[Read]:
    with ThreadPoolExecutor(most) as pool:
        waiting: deque[Future[Read]] = deque()
        for asked in keys:
            waiting.append(pool.submit(read, asked))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _piece(name: str) -> str:
    return f"{PIECES}/{name[:2]}/{name}"


def point_name(number: int) -> str:
    return f"{POINTS}/{number:012d}"
