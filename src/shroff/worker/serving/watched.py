"""What is watched: a folder of files, or a list of them behind a URL; which of them are complete, and in which order.

A file is taken under its name. Names are taken in their order, a list in its own, and one
that is still being written holds up those behind it, so that no day is learnt before
the one that it follows.
"""

from __future__ import annotations

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit
from urllib.response import addinfourl

from shroff.config import make_folder, private
from shroff.errors import NotThereYetError, TransientError, UsageError
from shroff.events.formats.encodings import format_by_name
from shroff.streams.pull import PulledSource, Stamp

SETTLED_MS: Final = 2_000
DONE: Final = ".done"  # behind a file's name: a marker that it is complete
SUCCESS: Final = "_SUCCESS"  # in a folder: all of it is complete, as Spark and Hadoop have it
LIST_BYTES_MAX: Final = 16 * 1024 * 1024
TIMEOUT_S: Final = 60.0
READ: Final = ("csv", "jsonl", "parquet", "avro")
_LATER: Final = ("s3", "gs", "gcs", "az", "abfs", "abfss", "hdfs", "ftp", "sftp")


class Folder(PulledSource):
    """The files of a folder, those of folders inside it left out.

    One is complete when its size and its time of change have been the same for `settled_ms`,
    by that time itself or by what was seen of it. With `has_markers` instead, when a file
    of its name and `.done`, or `_SUCCESS`, stands beside it.
    """

    def __init__(
        self, path: Path, now_ms: Callable[[], int], *, settled_ms: int = SETTLED_MS, has_markers: bool = False
    ) -> None:
        if not path.is_dir():
            raise UsageError(f"there is no folder {path} to watch.")
        self._path, self._now_ms = path.resolve(), now_ms
        self._settled_ms, self._has_markers = settled_ms, has_markers
        self._seen: dict[str, tuple[Stamp, int]] = {}  # the stamp and since when it is the same
        self.source = f"watched {self._path}"

    def names(self) -> list[str]:
        try:
            found = [path.name for path in self._path.iterdir() if path.is_file()]
        except OSError as error:
            raise TransientError(f"{self._path} cannot be read: {error.strerror}") from None
        return sorted(name for name in found if is_taken(name))

    def is_complete(self, name: str) -> bool:
        if self._has_markers:
            return any((self._path / marker).exists() for marker in (name + DONE, SUCCESS))
        stamp = self.stamp(name)
        if stamp is None:
            return False
        now_ms = self._now_ms()
        last, since_ms = self._seen.get(name, (None, now_ms))
        if last != stamp:
            since_ms = now_ms
        self._seen[name] = stamp, since_ms
        return now_ms - min(since_ms, stamp[1] // 1_000_000) >= self._settled_ms

    def stamp(self, name: str) -> Stamp | None:
        try:
            found = (self._path / name).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        yield self._path / name


class UrlList(PulledSource):
    """The files that a text behind a URL lists, one name or URL a line, in its order; `#` begins a comment.

    Whoever lists a file says that it is complete. Each is downloaded whole before it is
    looked into, from the server of the list and from no other.
    """

    def __init__(self, url: str, downloads: Path) -> None:
        self._url, self._downloads = url, downloads
        self.source = f"watched {url}"

    def names(self) -> list[str]:
        with self._reached(self._url) as answer:
            data: bytes = answer.read(LIST_BYTES_MAX + 1)
        if len(data) > LIST_BYTES_MAX:
            raise UsageError(f"{self._url} is longer than a list of files may be, {LIST_BYTES_MAX // 2**20} MiB.")
        try:
            lines = [line.partition("#")[0].strip() for line in data.decode().splitlines()]
        except UnicodeDecodeError:
            raise UsageError(f"{self._url} is no list of files: it is not UTF-8.") from None
        wanted = [line for line in dict.fromkeys(lines) if line]
        for line in wanted:
            if urlsplit(urljoin(self._url, line))[:2] != urlsplit(self._url)[:2]:
                raise UsageError(f"{self._url} lists {line}, which is on another server; only its own are read.")
        return [line for line in wanted if is_taken(_last(line))]

    def is_complete(self, name: str) -> bool:
        return True

    def stamp(self, name: str) -> Stamp | None:
        return None

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        make_folder(self._downloads)
        path = self._downloads / _last(name)
        try:
            with self._reached(urljoin(self._url, name)) as answer, private(path) as file:
                shutil.copyfileobj(answer, file)
                wanted = answer.headers.get("Content-Length")
                if wanted is not None and file.tell() != int(wanted):
                    raise TransientError(f"{name}: {file.tell():,} of {int(wanted):,} bytes came")
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _reached(self, url: str) -> Iterator[addinfourl]:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # nosec B310  # noqa: S310 (http and https alone)
                if urlsplit(answer.url)[:2] != urlsplit(self._url)[:2]:
                    raise UsageError(f"{url} leads to another server, {answer.url}; only its own files are read.")
                yield answer
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise TransientError(f"{url} cannot be reached: {getattr(error, 'reason', None) or error}") from None


def is_taken(name: str) -> bool:
    """Whether a name is one of a file to take: neither hidden nor a part of one, and of a format that is read."""
    if name.startswith((".", "_")) or not name.isprintable():
        return False
    return format_by_name(name) in READ


def watched(
    place: str,
    now_ms: Callable[[], int],
    downloads: Path,
    *,
    settled_ms: int = SETTLED_MS,
    has_markers: bool = False,
) -> PulledSource:
    """What a folder's path or a URL names.

    Raises: UsageError where there is nothing to watch; NotThereYetError for stores that a later version reads.
    """
    scheme = urlsplit(place).scheme if "://" in place else ""
    if scheme in {"http", "https"}:
        return UrlList(place, downloads)
    if scheme in _LATER:
        raise NotThereYetError(f"--watch {scheme}://")
    if scheme not in {"", "file"}:
        raise UsageError(f"{place}: there is file://, http:// and https://, no {scheme}://.")
    path = Path(unquote(urlsplit(place).path)) if scheme else Path(place)
    return Folder(path, now_ms, settled_ms=settled_ms, has_markers=has_markers)


def _last(name: str) -> str:
    """The file's own name, of a name or URL of a list."""
    return PurePosixPath(unquote(urlsplit(name).path)).name
