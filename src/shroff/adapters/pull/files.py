"""Pull new files from a folder, a bucket, or a list at a URL: find them, and tell which are complete.

Files are identified by their names, and taken in the order of names, or of the list. A file that is still being written
delays those after it, so that no day is ingested before the previous one.
"""

from __future__ import annotations

import hashlib
import io
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit
from urllib.response import addinfourl

from shroff.adapters.lake.bucket import BucketEntry, BucketObjects
from shroff.errors import NotThereYetError, TransientError, UsageError, covered, os_words
from shroff.events.formats.encodings import format_by_name, is_text_name
from shroff.json_types import JsonMapping, TextDict
from shroff.language.values import parse_duration
from shroff.runtime.atomic_files import leads_out
from shroff.runtime.state_folder import make_folder, open_private
from shroff.streams.pull import SETTLED_MS, PulledSource, PullPlace, Stamp
from shroff.streams.settings import BUCKET

DONE = ".done"  # ending of the marker file of a complete file
SUCCESS = "_SUCCESS"  # marker of a complete folder, as Spark and Hadoop write it
LIST_BYTES_MAX = 16 * 1024 * 1024
TIMEOUT_S = 60.0  # longest silence of a server
FILE_BYTES_MAX = 8 << 30  # of a file at a URL
PART_BYTES = 1 << 20
FILE_S_MAX = 3_600.0  # time limit for one download
BUCKETS = ("s3", "gs", "az", "abfss")
_LATER = ("gcs", "abfs", "hdfs", "ftp", "sftp")


class Folder(PulledSource):
    """The files of a folder, without its subfolders. Keeps every promise of `streams.pull.PulledSource`.

    A file is complete if its size and modification time have not changed for `settled_ms`, by its modification time or
    by earlier calls. With `has_markers` it is complete if a file with its name and `.done`, or `_SUCCESS`, is beside
    it.

    Raises: UsageError if there is no such folder.
    """

    def __init__(
        self, path: Path, place: PullPlace, *, settled_ms: int = SETTLED_MS, has_markers: bool = False
    ) -> None:
        if not path.is_dir():
            raise UsageError(f"there is no folder {path} to read from.")
        self._path = path.resolve()
        self._place = place
        self._now_ms = place.now_ms
        self._settled_ms = settled_ms
        self._has_markers = has_markers
        self._seen: dict[str, tuple[Stamp, int]] = {}  # last stamp of a file, and the time since when it has it
        self.source = place.source_of(f"{self._path}")

    def names(self) -> list[str]:
        try:
            files = (path for path in self._path.iterdir() if path.is_file())
            is_link_by_name = {path.name: self._is_away(path) for path in files if is_taken(path.name, self._place)}
        except OSError as error:
            raise TransientError(os_words(error, self._path, " cannot be read")) from None
        away = sorted(name for name in is_link_by_name if is_link_by_name[name])
        message = (
            f"{', '.join(away)}: links out of the folder are not read. Copy the files into it, or remove the links"
        )
        self.remark = message if away else ""
        return sorted(is_link_by_name.keys() - away)

    def _is_away(self, path: Path) -> bool:
        """Whether a file is a link out of the folder, by which a sender could make any file of this machine be read."""
        return path.is_symlink() and leads_out(self._path, path)

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
            status = (self._path / name).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        path = self._path / name
        if self._is_away(path):
            raise TransientError(f"{name} became a link out of {self._path}")
        yield path


class BucketFiles(PulledSource):
    """The files below a prefix of a bucket, by key. Keeps every promise of `streams.pull.PulledSource`.

    Objects are always complete. An object is taken again if its ETag and its bytes have changed.
    """

    def __init__(self, objects: BucketObjects, place: PullPlace, *, has_markers: bool = False) -> None:
        self._objects = objects
        self._place = place
        self._downloads = place.folder
        self._has_markers = has_markers
        self._found: dict[str, BucketEntry] = {}
        self.source = place.source_of(self._objects.address)

    def names(self) -> list[str]:
        self._found = {entry.name: entry for entry in self._objects.entries()}
        return sorted(name for name in self._found if is_taken(PurePosixPath(name).name, self._place))

    def is_complete(self, name: str) -> bool:
        folder = name.rpartition("/")[0]
        success = f"{folder}/{SUCCESS}" if folder else SUCCESS
        return not self._has_markers or name + DONE in self._found or success in self._found

    def stamp(self, name: str) -> Stamp | None:
        listed = self._found.get(name)
        if listed is None:
            return None
        return listed.size, int.from_bytes(hashlib.sha256(listed.version.encode()).digest()[:7])

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        make_folder(self._downloads)
        path = self._downloads / PurePosixPath(name).name
        try:
            with open_private(path) as file:
                is_there = self._objects.download(name, file)
            if not is_there:
                path.unlink()
            yield path
        finally:
            path.unlink(missing_ok=True)


class UrlList(PulledSource):
    """The files that a text at a URL lists, with one name or URL on each line, in its order; `#` begins a comment.

    Keeps every promise of `streams.pull.PulledSource`, except that it does not notice files that change. A listed file
    counts as complete. Files are downloaded before they are read, only from the server of the list.
    """

    def __init__(self, url: str, place: PullPlace) -> None:
        self._url = url
        self._place = place
        self._downloads = place.folder
        self._lines: TextDict = {}  # lines of the list by the name in the log
        self.source = place.source_of(_name_of(url))

    def names(self) -> list[str]:
        with self._request(self._url) as answer:
            received = io.BytesIO()
            _receive(answer, received, _name_of(self._url), LIST_BYTES_MAX)
            data = received.getvalue()
        try:
            lines = [line.partition("#")[0].strip() for line in data.decode().splitlines()]
        except UnicodeDecodeError:
            raise UsageError(f"{self._url} is not a list of files: it is not UTF-8.") from None
        urls = [line for line in dict.fromkeys(lines) if line]
        for line in urls:
            if urlsplit(urljoin(self._url, line))[:2] != urlsplit(self._url)[:2]:
                raise UsageError(f"{self._url} lists {line}, which is on another server; only its own are read.")
        self._lines = {_name_of(line): line for line in urls if is_taken(_last(line), self._place)}
        return [*self._lines]

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        make_folder(self._downloads)
        if name not in self._lines:
            self.names()
        path = self._downloads / _last(name)
        try:
            with self._request(urljoin(self._url, self._lines.get(name, name))) as answer, open_private(path) as file:
                _receive(answer, file, name, FILE_BYTES_MAX)
                length = answer.headers.get("Content-Length")
                if length is not None and file.tell() != int(length):
                    raise TransientError(f"{name}: {file.tell():,} of {int(length):,} bytes came")
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _request(self, url: str) -> Iterator[addinfourl]:
        try:
            with urllib.request.build_opener(_OwnServer).open(url, timeout=TIMEOUT_S) as answer:
                yield answer
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            raise TransientError(f"{url} cannot be reached: {getattr(error, 'reason', None) or error}") from None


def _receive(answer: addinfourl, out: BinaryIO, name: str, bytes_max: int) -> None:
    """Copy an answer. Raises: UsageError if it is too long; TransientError if it takes too long."""
    until_s = time.monotonic() + FILE_S_MAX
    received = 0
    while part := answer.read1(PART_BYTES):
        received += len(part)
        if received > bytes_max:
            raise UsageError(f"{name} has more than {bytes_max >> 20:,} MiB, the most that is read from a URL.")
        if time.monotonic() > until_s:
            raise TransientError(f"{name}: {received:,} bytes came in {FILE_S_MAX / 60:.0f} minutes, and no end")
        out.write(part)


class _OwnServer(urllib.request.HTTPRedirectHandler):
    """Follows redirects on the same server, and refuses those to another one."""

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        leads_to = args[-1]
        if urlsplit(leads_to)[:2] != urlsplit(req.full_url)[:2]:
            raise UsageError(f"{req.full_url} leads to another server, {leads_to}; only its own files are read.")
        return super().redirect_request(req, *args)


def is_taken(name: str, place: PullPlace) -> bool:
    """Whether a file should be taken by its name: not hidden or temporary, and of a format that can be read."""
    if name.startswith((".", "_")) or not name.isprintable():
        return False
    return format_by_name(name) is not None or (place.takes_texts and is_text_name(name))


def files_at(options: JsonMapping, place: PullPlace) -> PulledSource:
    """Return the source for `from`: a folder, a bucket, or a list at a URL.

    Raises: UsageError for an invalid address; NotThereYetError for stores that a later version will read.
    """
    address = str(options["from"])
    scheme = urlsplit(address).scheme if "://" in address else ""
    has_markers = str(options.get("markers", "false")) == "true"
    if scheme in {"http", "https"}:
        return UrlList(address, place)
    if scheme in BUCKETS:
        bucket_options = {name: str(options.get(name, "")) for name in (*(key.name for key in BUCKET), "proxy", "ca")}
        return BucketFiles(BucketObjects(address, options=None, **bucket_options), place, has_markers=has_markers)
    if scheme in _LATER:
        raise NotThereYetError(f"reading files from {scheme}://")
    if scheme not in {"", "file"}:
        raise UsageError(f"{address}: there is file://, http://, https://, s3://, gs:// and az://, no {scheme}://.")
    path = Path(unquote(urlsplit(address).path)) if scheme else Path(address)
    settled_ms = parse_duration(str(options["settled"])) if "settled" in options else SETTLED_MS
    return Folder(path, place, settled_ms=settled_ms, has_markers=has_markers)


def _name_of(url: str) -> str:
    """Return a name or URL for the log, with a short hash in place of a possible signature."""
    safe_url = covered(url)
    return url if safe_url == url else f"{safe_url}#{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _last(name: str) -> str:
    return PurePosixPath(unquote(urlsplit(name).path)).name
