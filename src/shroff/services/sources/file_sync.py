"""Appends the files that appear in a location to the log, each completely and once.

The progress of a file is an offset in the log, under the location and the file's name. It is committed with the lines
of each batch, so a killed process resumes there: no line is skipped and none is appended twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.json import encode as to_json

from shroff.errors import LogBusyError, NotThereYetError, UsageError
from shroff.events.formats.compression import ending_of
from shroff.events.formats.encodings import format_by_name, is_text_name
from shroff.runtime.values import replace
from shroff.services.parts import ProjectParts
from shroff.services.sources.pulled_files import APPENDED, APPENDING, ASIDE, DONE, WATCHED, Progress, read_progress
from shroff.streams.log import Batch, Log, Offset
from shroff.streams.pull import PULLED
from shroff.worker.file_order import LATE_LINES_MIN, arranged, refuse_implausible
from shroff.worker.forwarded_input import HandedLines, given
from shroff.worker.inbox import ROWS_MAX
from shroff.worker.ingest import IngestReport, batches, ingest

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.events.intake import Submission
    from shroff.log.writer import Prepared, Writer
    from shroff.runtime.progress import Tell
    from shroff.services.context import ProjectContext
    from shroff.streams.pull import PulledSource, Stamp


class TakingRules(NamedTuple):
    """How files of a location are ingested.

    Args:
        then: State of an appended file: APPENDED if training follows, else DONE.
        needs_lines: Set a file aside if none of its lines can be ingested.
        takes_changed: Ingest a file again after it changed. Only new events are appended: known ids are duplicates.
        takes_same: Ingest an unchanged file again as well.
        labels_inside: Files have labels of their own events; one that was done without them, and gave no model, is
            ingested again.
    """

    then: str = APPENDED
    needs_lines: bool = True
    takes_changed: bool = False
    takes_same: bool = False
    labels_inside: bool = False


_FOR_TRAINING = TakingRules()


class BrokenFileError(UsageError):
    """A file that cannot be taken, as a whole."""


class ReadOnError(Exception):
    """What the log knows of a file is no longer what this process read: a request of one before it came through."""


class ChangedFileError(Exception):
    """The file changed while it was read."""


class TakenFile(NamedTuple):
    """Progress of a file, and the rows appended now; None if it was appended before."""

    progress: Progress
    appended: IngestReport | None


class _FileLines(Struct, eq=False):
    """Counts of a file's lines: read, bad, accepted by no event type; and the last line."""

    count: int = 0
    untaken: int = 0
    bad: int = 0
    last: Submission | None = None

    def counted(self, submissions: Iterable[Submission]) -> Iterator[Submission]:
        for submission in submissions:
            self.count += 1
            if submission.event is None:
                self.bad += submission.refusal is not None
                self.untaken += submission.label is None and submission.refusal is None
            self.last = submission
            yield submission


# Returns the lines of a file, by name and path; `is_look` leaves out labels of its own events.
ReadFile: TypeAlias = "Callable[..., AbstractContextManager[Iterator[Submission]]]"


class FileTaking(Struct, eq=False):
    """Appends the files of a source to a log, also while another process writes it.

    Args:
        read: Returns the lines of a file.
        tell: Called once with each message.
        decide: Decide the events.
        changing: The last file that changed while it was read.
    """

    _context: ProjectContext
    _given: PulledSource
    _read: ReadFile
    _say: Tell
    _rules: TakingRules = _FOR_TRAINING
    decide: bool = True
    changing: str = ""
    _said: set[str] = set()
    _settled: dict[str, Stamp] = {}  # finished files, until their stamp changes
    _names: dict[str, str] = {}  # of ingested files, by the hash of their content

    def tell(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            self._say(words.rstrip("."))

    @property
    def _version(self) -> str:
        return self._context.definitions.versions.definitions

    def known(self) -> dict[str, Progress]:
        if not self._context.log.exists():
            return {}
        with self._context.log.reading() as log:
            by_name = {name: read_progress(text) for name, text in log.offsets.of(self._given.source).items()}
        for name, progress in by_name.items():
            self._note(name, progress)
        return by_name

    def _note(self, name: str, progress: Progress) -> None:
        if progress.sha256 and progress.state != ASIDE:
            self._names[progress.sha256] = name
        elif self._names.get(progress.sha256) == name:
            del self._names[progress.sha256]

    def progress(self, name: str) -> Progress | None:
        if not self._context.log.exists():
            return None
        with self._context.log.reading() as log:
            text = log.offsets.get(self._given.source, name)
        return None if text is None else read_progress(text)

    def is_over(self, name: str, progress: Progress) -> bool:
        if progress.state not in {DONE, ASIDE}:
            return False
        if progress.state == ASIDE and progress.version != self._version:
            return False
        if self._lacks_labels(progress):
            return False
        stamp = self._given.stamp(name)
        if stamp is None or self._settled.get(name) == stamp:
            return True
        if stamp != (progress.size, progress.changed_ns) or not progress.sha256:
            with self._given.opened(name) as path:
                digest = _digest(path)
            if digest != progress.sha256 and (progress.state == ASIDE or self._rules.takes_changed):
                return False
            if digest != progress.sha256:
                self.tell(
                    f"{name} changed after it was ingested, and is not ingested again. Put new lines into another "
                    f"file. If you corrected the file, run 'shroff train --watch ... --once --again {name}'"
                )
        self._settled[name] = stamp
        return True

    def _lacks_labels(self, progress: Progress) -> bool:
        was_without = progress.state == DONE and not progress.model and not progress.labels_inside
        return self._rules.labels_inside and was_without

    def has_changed(self, name: str, progress: Progress) -> bool:
        with self._given.opened(name) as path:
            return _digest(path) != progress.sha256

    def record(self, name: str, progress: Progress, before: Progress | None, *, source: str = "") -> None:
        """Record the progress of a file; if another process writes the log, through a request to it."""
        if not self._context.log.exists():
            with self._context.log.writing():  # creates the log
                pass
        try:
            with closing(self._context.log.open(read_only=False)) as log:
                log.append(Batch(offsets=[self._offset(name, progress, source)]))
        except LogBusyError:
            self._hand(name, (), progress, before, is_first=False, source=source)

    def _offset(self, name: str, progress: Progress, source: str = "") -> Offset:
        return Offset(source or self._given.source, name, _text(progress))

    def _hand(
        self,
        name: str,
        submissions: Sequence[Submission],
        progress: Progress,
        before: Progress | None,
        *,
        is_first: bool,
        source: str = "",
    ) -> Prepared:
        """Send lines to the process that writes the log. Raises: ReadOnError if another process did so."""
        definitions = self._context.definitions
        prepared = ProjectParts(self._context).labelling.hand(
            HandedLines(
                given(submissions, definitions.settings.money_places, definitions.events.types),
                source or self._given.source,
                name,
                _text(progress),
                None if before is None else _text(before),
                self.decide,
                is_first,
            )
        )
        if prepared is None:
            raise ReadOnError
        return prepared

    def take(self, name: str, before: Progress | None) -> TakenFile | None:
        """Append a complete file; None if it changed or was removed meanwhile."""
        self.changing = ""
        stamp = self._given.stamp(name)
        with self._given.opened(name) as path:
            if not path.exists():
                return None
            progress = self._begun(path, stamp, before)
            is_same = before is not None and before.state in {APPENDED, DONE} and before.sha256 == progress.sha256
            if before is not None and is_same and not self._rules.takes_same and not self._lacks_labels(before):
                self.record(name, _with(before, size=progress.size, changed_ns=progress.changed_ns), before)
                return TakenFile(before, None)
            is_text = format_by_name(path.name) in {"csv", "jsonl"} or is_text_name(path.name)
            has_lines = not ending_of(path.name) and not path.name.lower().endswith(".json")
            is_text = is_text and has_lines  # should end a line
            is_ended = is_text and _ends_a_line(path)
            try:
                if self._rules.then == APPENDED and not self._rules.takes_changed:
                    self._check_new(name, progress.sha256)
                if self._rules.needs_lines or not is_ended:
                    self._look_into(name, path, is_cut_off=is_text and not is_ended)
            except _UNREADABLE as error:
                return self._set_aside(name, progress, before, _words(error, path))
            try:
                _check_same(self._given, name, progress)
                file_lines = self._append(name, path, progress, before)
            except ReadOnError:
                return None
            except ChangedFileError:  # its offset stays at APPENDING, with the hash of the old bytes
                self.changing = name
                self.tell(f"{name} changed while it was read, and is read again from its first line")
                return None
            self._note(name, file_lines.progress)
            return file_lines

    def _begun(self, path: Path, stamp: Stamp | None, before: Progress | None) -> Progress:
        """Return the initial progress; a file stays suspicious until it is read completely."""
        size, changed_ns = stamp or (path.stat().st_size, 0)
        begun = Progress(APPENDING, size, changed_ns, _digest(path), labels_inside=self._rules.labels_inside)
        return begun if before is None else _with(begun, suspicious=before.suspicious, since_ms=before.since_ms)

    def _check_new(self, name: str, sha256: str) -> None:
        """Raises: BrokenFileError if another file here had the same content: its rows would count twice."""
        if (other := self._names.get(sha256, name)) != name:
            raise BrokenFileError(
                f"it has the same content as {other}, which was ingested; 'shroff ingest FILE' takes it all the same"
            )

    def _look_into(self, name: str, path: Path, *, is_cut_off: bool) -> None:
        """Read a file to its end before any line is ingested. Raises: the reason why it cannot be ingested.

        Not needed for a text with a complete last line if `needs_lines` is off: each line stands for itself.
        """
        read = _FileLines()
        with self._read(name, path, is_look=True) as submissions:
            for _ in read.counted(submissions):
                pass
        if read.count == 0 and self._rules.needs_lines:
            raise BrokenFileError("it has no lines")
        if is_cut_off and read.last is not None and read.last.refusal is not None:
            raise BrokenFileError(f"its last line is cut off: {read.last.refusal}")
        if read.untaken == read.count and self._rules.needs_lines:
            raise BrokenFileError("no event type accepts its lines; name it with --as")

    def _append(self, name: str, path: Path, progress: Progress, before: Progress | None) -> TakenFile:
        is_begun = before is not None and before.state == APPENDING
        skipped = before.lines if before is not None and is_begun and before.sha256 == progress.sha256 else 0
        read = _FileLines()
        with ExitStack() as held:
            now = _with(progress, lines=skipped, after=before.after if before is not None and is_begun else 0)
            try:
                submissions = islice(read.counted(held.enter_context(self._read(name, path))), skipped, None)
                try:
                    writer, log = held.enter_context(self._context.log.writing())
                except LogBusyError as error:
                    self.tell(f"{error.by} writes the log, and ingests these lines between its own batches")
                    slips = refuse_implausible(submissions, self._context.definitions, self._context.now_ms())
                    return self._append_beside(name, slips, now, before, read)
                return self._append_here(name, submissions, now, writer, log, read)
            except UsageError as error:  # too many late lines, or it cannot be read further
                why = _words(error, path)
        return self._set_aside(name, progress, before, why)

    def _append_here(
        self, name: str, submissions: Iterator[Submission], now: Progress, writer: Writer, log: Log, read: _FileLines
    ) -> TakenFile:
        if self.decide:
            writer.definitions.require_models()
            for remark in writer.definitions.remarks():
                self.tell(remark)
        now = _with(now, after=now.after or log.last_seq())

        def offsets(batch: Sequence[Submission]) -> list[Offset]:
            nonlocal now
            now = _with(now, lines=now.lines + len(batch))
            return [self._offset(name, now)]

        with closing(ProjectParts(self._context).inboxes.brief(writer, log)) as inbox:
            report = ingest(
                writer,
                arranged([(name, submissions)], writer, late_min=LATE_LINES_MIN),
                decide=self.decide,
                inbox=inbox,
                offsets=offsets,
            )
        _check_same(self._given, name, now)
        now = self._appended(now, read, is_new=log.last_seq() > now.after)
        log.append(Batch(offsets=[self._offset(name, now)]))
        return TakenFile(now, report)

    def _append_beside(
        self, name: str, submissions: Iterator[Submission], now: Progress, before: Progress | None, read: _FileLines
    ) -> TakenFile:
        """Send a file to the process that writes the log, a thousand lines at a time, with the progress."""
        with self._context.log.reading() as log:
            last_seq = log.last_seq()
        report, is_first = IngestReport(), True
        is_new = 0 < now.after < last_seq  # lines sent by an earlier process, or by another one meanwhile
        now = _with(now, after=now.after or last_seq)
        for batch in batches(submissions, ROWS_MAX):
            reached = _with(now, lines=now.lines + len(batch))
            report.add(self._hand(name, batch, reached, before, is_first=is_first))
            now = before = reached
            is_first = False
        _check_same(self._given, name, now)
        is_new = is_new or report.events.appended + report.labels.appended > 0
        now = self._appended(now, read, is_new=is_new)
        self.record(name, now, before)
        return TakenFile(now, report)

    def _set_aside(self, name: str, progress: Progress, before: Progress | None, why: str) -> TakenFile:
        was_aside = before is not None and before.state == ASIDE and before.why == why
        since_ms = before.since_ms if was_aside and before is not None else self._context.now_ms()
        aside = _with(progress, state=ASIDE, why=why, version=self._version, since_ms=since_ms)
        self.record(name, aside, before)
        location = self._given.source
        if not location.startswith(f"{PULLED}/"):  # `doctor` and notices find the sources of shroff.yaml themselves
            with self._context.log.reading() as log:
                is_known = log.offsets.get(WATCHED, location) is not None
            if not is_known:
                self.record(location, aside, None, source=WATCHED)
        self._note(name, aside)
        return TakenFile(aside, None)

    def _appended(self, progress: Progress, read: _FileLines, *, is_new: bool) -> Progress:
        # Reasons for suspicion in a file read to its end
        bad = read.bad and read.bad / read.count > self._given.bad_max
        reasons = [f"{read.bad:,} of {read.count:,} lines cannot be read" if bad else "", self._given.lost()]
        suspicious = " and ".join(filter(None, reasons))
        since_ms = progress.since_ms if progress.suspicious == suspicious else self._context.now_ms()
        return _with(
            progress,
            state=self._rules.then if is_new else DONE,
            why="" if is_new else _NOTHING_NEW,
            suspicious=suspicious,
            since_ms=since_ms if suspicious else 0,
        )


_NOTHING_NEW = "it has no new event and no new label"
_UNREADABLE = (UsageError, NotThereYetError, OSError, ValueError)  # the last two: raised by libraries midway


def _check_same(source: PulledSource, name: str, begun: Progress) -> None:
    """Raises: ChangedFileError if a file is gone or has changed since reading began."""
    has_stamp = begun.changed_ns != 0
    if has_stamp and source.stamp(name) != (begun.size, begun.changed_ns):
        raise ChangedFileError


def _text(progress: Progress) -> str:
    return to_json(progress).decode()


def _with(progress: Progress, **changes: object) -> Progress:
    return replace(progress, **changes)


def _words(error: Exception, path: Path) -> str:
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return text.replace(f"{path}", path.name).rstrip(".")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _ends_a_line(path: Path) -> bool:
    """Return whether a file ends with a line break; False if it is empty or cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in b"\r\n"
    return False
