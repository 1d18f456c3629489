"""Pull days of events from Amplitude's export API; a day is the 24 hours, in UTC, in which events were uploaded.

An answer is a zip with a `.json.gz` for each hour and part. It is downloaded and archived before it is read; then its
lines are written into one file, in the order of the names in the zip.
Source: https://amplitude.com/docs/apis/analytics/export
"""

from __future__ import annotations

import gzip
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse
from io import FileIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit
from zipfile import BadZipFile, ZipFile, ZipInfo

from shroff.errors import TransientError, UsageError
from shroff.json_types import JsonMapping
from shroff.plugins.adapters import LOST, PulledSource, PullPlace
from shroff.plugins.http import CallDeadline, Calls, basic, reason
from shroff.plugins.language import parse_duration, parse_share
from shroff.plugins.project import make_folder, private

HOSTS = {"us": "https://amplitude.com", "eu": "https://analytics.eu.amplitude.com"}
SETTLED = "3h"  # wait after the end of a day, as events come late and the export lags
TIMEOUT = "10m"
SUSPICIOUS = "5%"  # share of bad lines above which a day is suspicious
LOST_MAX = "0"  # hours of a day that may be damaged or missing
BUSY = 20  # an hour without a file is missing, not quiet, if its neighbors have so many events
TRIES = 3  # downloads of an answer that is cut off
CHUNK = 1 << 20
ZIP_BYTES_MAX = 5 << 30  # the API returns 4 GB at most
DAY_BYTES_MAX = 200 << 30  # of unpacked lines
MEMBERS_MAX = 10_000  # files in an archive; an export has a few for each hour
DIRECTORY_BYTES_MAX = 4 << 20  # of an archive's directory, which is read into memory
RATIO_MAX = 1_000  # largest ratio of unpacked to compressed bytes; JSON has 50
OK = 200
TOO_LARGE = 400
NOTHING = 404
TOO_MANY = 429
HOURS = 24
_HOUR = re.compile(r"_(\d{1,2})#\d+\.json")  # in the name of a file, such as 1/1_2026-03-01_7#0.json.gz


class _RangeError(Exception):
    """The requested hours are too many for one answer."""


class AmplitudeExport(PulledSource):
    """The days of an Amplitude project, from one day on. Keeps every promise of `streams.pull.PulledSource`.

    A day is pulled once; `sources sync NAME --day` pulls it again.
    """

    def __init__(self, options: JsonMapping, place: PullPlace) -> None:
        self._place = place
        self._headers = {"Authorization": basic(str(options["api_key"]), str(options["secret_key"]))}
        self._address = str(options.get("url") or HOSTS[str(options.get("region", "us"))])
        self._calls = Calls.of({**options, "timeout": options.get("timeout", TIMEOUT)})
        self._settled = timedelta(milliseconds=parse_duration(str(options.get("settled", SETTLED))))
        self.bad_max = parse_share(str(options.get("suspicious", SUSPICIOUS)))
        try:
            self._first = date.fromisoformat(str(options["from"]))
        except ValueError:
            raise UsageError(f"{options['from']!r} is not a day. Write it as 2026-03-01.") from None
        self.source = place.source_of(self._address)
        self._lost_max = int(str(options.get("lost_hours", LOST_MAX)))
        # Of the day that was opened last: events by hour, number of files, and hours with a damaged file
        self._events: Counter[int] = Counter()
        self._parts = 0
        self._damaged = list[int]()

    def names(self) -> list[str]:
        ended = datetime.fromtimestamp(self._place.now_ms() / 1_000, UTC) - self._settled
        days = (ended.date() - self._first).days
        return [(self._first + timedelta(days=number)).isoformat() for number in range(days)]

    @contextmanager
    def opened(self, name: str) -> Iterator[Path]:
        with self._day_lines(name) as path:
            archives = list(self._archives(name, range(HOURS)))
            self._place.archives.keep(name, archives)
            self._write_lines(archives, path)
            yield path

    @contextmanager
    def kept(self, name: str) -> Iterator[Path]:
        with self._day_lines(name) as path:
            self._write_lines(self._place.archives.bring(name, self._place.folder), path)
            yield path

    def lost(self) -> str:
        missing = _missing(self._events)
        if len({*self._damaged, *missing}) <= self._lost_max:
            return ""
        messages = []
        if self._damaged:
            hours = ", ".join(f"T{hour:02}" for hour in self._damaged)
            messages.append(f"{len(self._damaged):,} of {self._parts:,} parts cannot be read to their end: {hours}")
        if missing:
            hours = ", ".join(f"T{hour:02}" for hour in missing)
            messages.append(f"there is no file of {hours}, between hours with {BUSY} events or more")
        return " and ".join(messages)

    @contextmanager
    def _day_lines(self, name: str) -> Iterator[Path]:
        """Return the path for the lines of a day; at the end remove it and all archives of the day."""
        make_folder(self._place.folder)
        path = self._place.folder / f"{name}.jsonl"
        try:
            yield path
        finally:
            for archive in (path, *self._place.folder.glob(f"{name}-*.zip")):
                archive.unlink(missing_ok=True)

    # ---- downloading

    def _archives(self, day: str, hours: Sequence[int]) -> Iterator[Path]:
        """Yield the archives of some hours; halve a range that is too large or too slow."""
        try:
            archive = self._fetch(day, hours)
        except _RangeError as error:
            if len(hours) == 1:
                raise TransientError(f"{day} T{hours[0]:02} of Amplitude: {error}") from None
            half = len(hours) // 2
            yield from self._archives(day, hours[:half])
            yield from self._archives(day, hours[half:])
            return
        if archive is not None:
            yield archive

    def _fetch(self, day: str, hours: Sequence[int]) -> Path | None:
        """Download the archive of some hours; return None if they have no event.

        Raises: TransientError after `TRIES` incomplete downloads; _RangeError if the range is too large or too slow.
        """
        path = self._place.folder / f"{day}-T{hours[0]:02}-T{hours[-1]:02}.zip"
        failure = ""
        for _ in range(TRIES):
            if not self._request(day, hours, path):
                return None
            try:
                with _open_archive(path):
                    pass
            except BadZipFile:
                failure = "the download is incomplete"
            else:
                return path
        raise TransientError(f"{day} of Amplitude: {failure}, {TRIES} times")

    def _request(self, day: str, hours: Sequence[int], path: Path) -> bool:
        """Send one request and write the answer; return False if there are no events. Redirects are not followed."""
        parts = urlsplit(self._address)
        compact = day.replace("-", "")
        target = f"{parts.path}/api/2/export?start={compact}T{hours[0]:02}&end={compact}T{hours[-1]:02}"
        connection = self._calls.connection(parts.scheme, parts.hostname or "", parts.port)
        try:
            with CallDeadline(connection, self._calls.timeout_s):
                return self._receive(connection, target, path)
        except TimeoutError:
            raise _RangeError("no answer in time") from None
        except (OSError, HTTPException) as error:
            raise TransientError(f"Amplitude cannot be reached: {reason(error)}") from None
        finally:
            connection.close()

    def _receive(self, connection: HTTPConnection, target: str, path: Path) -> bool:
        connection.request("GET", target, headers=self._headers)
        with connection.getresponse() as answer:
            if answer.status == NOTHING:
                return False
            if answer.status == TOO_LARGE:
                raise _RangeError("it is larger than 4 GB, and cannot be requested in parts")
            if answer.status == TOO_MANY or answer.status >= 500:
                raise TransientError(f"Amplitude answers {answer.status}: it is overloaded or unavailable")
            if answer.status != OK:
                hint = "Check the keys and 'region'"
                raise UsageError(f"Amplitude refuses the export with {answer.status}. {hint}.")
            with private(path) as file:
                _copy_answer(answer, file)
        return True

    # ---- reading

    def _write_lines(self, archives: Iterable[Path], path: Path) -> None:
        self._events = Counter()
        self._parts = 0
        self._damaged = []
        with private(path) as lines:
            for archive in archives:
                with _open_archive(archive) as archive_file:
                    for entry in sorted(archive_file.infolist(), key=lambda entry: entry.filename):
                        if not entry.is_dir():
                            _check(entry)
                            match = _HOUR.search(entry.filename)
                            hour = int(match[1]) if match else HOURS
                            self._parts += 1
                            count, is_whole = _write_hour(archive_file, entry, lines)
                            self._events[hour] += count
                            self._damaged += [] if is_whole else [hour]


def _missing(events: Counter[int]) -> list[int]:
    """Return the hours without a file between busy ones; at the ends of a day only if the day has most of its hours."""
    missing = []
    for hour in range(HOURS):
        if hour in events:
            continue
        earlier = next((number for number in range(hour - 1, -1, -1) if number in events), None)
        after = next((number for number in range(hour + 1, HOURS) if number in events), None)
        neighbors = [events[number] for number in (earlier, after) if number is not None]
        has_enough = len(neighbors) == 2 or 2 * len(events) >= HOURS
        if has_enough and neighbors and min(neighbors) >= BUSY:
            missing.append(hour)
    return missing


class _ArchiveFile(FileIO):
    """An archive that refuses to read a directory which is longer than that of any export."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY_BYTES_MAX:
            raise _too_many()
        return super().read(size) or b""


def _too_many() -> UsageError:
    return UsageError(f"the archive has more than {MEMBERS_MAX:,} files, more than any export, and is refused.")


@contextmanager
def _open_archive(path: Path) -> Iterator[ZipFile]:
    """Open an archive. Raises: BadZipFile if it is cut off; UsageError if it has too many files."""
    with _ArchiveFile(path) as file, ZipFile(file) as archive:
        if len(archive.infolist()) > MEMBERS_MAX:
            raise _too_many()
        yield archive


def _copy_answer(answer: HTTPResponse, file: BinaryIO) -> None:
    with suppress(HTTPException):  # an answer that was cut off is an incomplete archive
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            if file.tell() > ZIP_BYTES_MAX:
                raise UsageError(
                    f"Amplitude's answer is longer than {ZIP_BYTES_MAX >> 30} GiB, longer than any export."
                )


def _check(entry: ZipInfo) -> None:
    """Raises: UsageError for links and unsafe paths, which no export has. No file gets a name from the archive."""
    is_link = stat.S_ISLNK(entry.external_attr >> 16)
    if is_link or entry.filename.startswith("/") or ".." in entry.filename.split("/") or "\\" in entry.filename:
        raise UsageError(f"the archive has {entry.filename[:100]!r}, a link or an unsafe path, and is refused.")


def _write_hour(archive_file: ZipFile, entry: ZipInfo, lines: BinaryIO) -> tuple[int, bool]:
    """Write the lines of an hour; for a damaged file the lines before the damage, and one that reports it.

    Returns: The number of lines, and whether the file is complete.
    """
    begin = lines.tell()
    last = b"\n"
    is_whole = True
    count = 0
    try:
        with archive_file.open(entry) as packed, gzip.GzipFile(fileobj=packed) as hour:
            while chunk := hour.read1(CHUNK):
                lines.write(chunk)
                last = chunk[-1:]
                count += chunk.count(b"\n")
                size = lines.tell()
                if size > DAY_BYTES_MAX or size - begin > max(RATIO_MAX * entry.compress_size, CHUNK):
                    raise UsageError(f"{entry.filename[:100]!r} of the archive is a zip bomb: the archive is refused.")
    except (OSError, EOFError, zlib.error, BadZipFile) as error:
        message = (
            f"{entry.filename[:200]!r} is incomplete or damaged ({type(error).__name__}): what follows here is missing"
        )
        lines.write(b"" if last == b"\n" else b"\n")
        lines.write(LOST + message.encode() + b"\n")
        last = b"\n"
        is_whole = False
    if last != b"\n":
        lines.write(b"\n")
    return count, is_whole
