"""Training again for each file that comes: looked into, appended, learnt from, promoted or not, and recorded.

How far a file is stands among the log's offsets, under the place that is watched and the
file's name. It is committed with the lines of each batch, so a process that is killed
anywhere goes on where it was: no line is left out and none comes twice.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from shroff.app.live.inboxes import Inboxes
from shroff.app.live.labelling import Labelling
from shroff.app.models.promoting import Deployment, Promotions, failure_of
from shroff.app.opened import intake_of
from shroff.errors import LogBusyError, NotThereYetError, TransientError, UsageError
from shroff.events.formats.encodings import read_lines
from shroff.log.batch_in_progress import Prepared
from shroff.streams.log import Batch, Log, Offset
from shroff.training.sets.wanted import settings_of
from shroff.worker.file_order import arranged, with_labels
from shroff.worker.handed import HandedLines, given
from shroff.worker.inbox import ROWS_MAX
from shroff.worker.ingest import IngestReport, batches, ingest
from shroff.worker.serving.watched import SETTLED_MS, Stamp, Watched

if TYPE_CHECKING:
    from pathlib import Path

    from shroff.app.models.trainings import Training
    from shroff.events.intake import Submission
    from shroff.features.cluster.partitioned import Cluster
    from shroff.log.writer import Answer, Writer
    from shroff.training.train import Steps, TrainReport

APPENDING: Final = "appending"
APPENDED: Final = "appended"  # and not learnt from yet
DONE: Final = "done"
ASIDE: Final = "set aside"
POLL_S: Final = 5.0
LABELS: Final = re.compile(r"(?:^|[-_.])labels?(?:[-_.]|$)", re.IGNORECASE)
_TEXTS: Final = (".csv", ".jsonl", ".ndjson")  # whose last line should be ended

Said = Callable[[str], None]


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a file is, as the log's offset of it has it.

    Args:
        state: APPENDING, APPENDED, DONE or ASIDE.
        lines: So many of it are in the log or in quarantine.
        after: The log's last place before its first line.
        why: Of one that is set aside, or done without a model, the reason.
    """

    state: str
    size: int
    changed_ns: int
    sha256: str
    lines: int = 0
    after: int = 0
    model: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How files are taken.

    Args:
        event: Of the model, and of lines that do not tell theirs; None where model.yaml has one.
        decide: Whether events are decided on the way.
        once: End when what is there is taken.
        poll_s: How long to wait before looking again.
        labels_inside: Each file also has labels of its events, as `from` of `label` in events.yaml reads them.
        cluster: Where features are computed and trees grown; without it in this process.
    """

    event: str | None = None
    promote: bool = False
    by: str = ""
    decide: bool = True
    once: bool = False
    has_markers: bool = False
    labels_inside: bool = False
    settled_ms: int = SETTLED_MS
    poll_s: float = POLL_S
    sleep: Callable[[float], None] = time.sleep
    cluster: Cluster | None = None


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of a file.

    Args:
        state: DONE or ASIDE; `why` is the reason of one that is set aside, or that no model was made for.
        appended: What was appended by this process; None where another one had done that.
        trained: The model that was made now.
        model: Its id, also where the process before this one had made it.
    """

    name: str
    state: str
    why: str = ""
    appended: IngestReport | None = None
    trained: TrainReport | None = None
    model: str = ""
    promoted: bool = False


class BrokenFileError(UsageError):
    """A file that cannot be taken, as a whole."""


class _ReadOnError(Exception):
    """What the log knows of a file is no longer what this process read: a request of one before it came through."""


class Watch:
    """One process that watches."""

    def __init__(self, training: Training, given: Watched, options: Options, say: Said, steps: Steps | None) -> None:
        self._training, self._opened = training, training.opened
        self._given, self._options, self._steps = given, options, steps
        self._event = settings_of(self._opened.definitions, options.event).event
        self._say = say
        self._said: set[str] = set()
        self._settled: dict[str, Stamp] = {}  # files that need no further look while they stay as they are

    def reports(self) -> Iterator[FileReport]:
        """What becomes of each file, as it comes."""
        waited = False
        while True:
            try:
                waits_for = yield from self._round()
            except TransientError as error:
                if self._options.once:
                    raise
                self._tell(f"{error}; trying again")
                waits_for = ""
            if self._options.once and (not waits_for or waited):
                break
            waited = True
            self._options.sleep(self._options.settled_ms / 1_000 if self._options.once else self._options.poll_s)
        if waits_for:
            self._tell(f"{waits_for} is still being written, and holds up what comes after it")

    def _round(self) -> Generator[FileReport, None, str]:
        """Take what is complete; gives the name of a file that is not, and for which those behind it wait."""
        names = self._given.names()
        known = self._known(names)
        wanted = [name for name in names if name not in known or not self._is_over(name, known[name])]
        complete = {name for name in wanted if self._given.is_complete(name)}
        for name in wanted:
            if name not in complete:
                return name
            self._opened.reload()
            report = self._take(name, known.get(name))
            if report is not None:
                yield report
        return ""

    def _tell(self, words: str) -> None:
        """Say something once."""
        if words not in self._said:
            self._said.add(words)
            self._say(words)

    # ---- what is known of a file

    def _known(self, names: Sequence[str]) -> dict[str, Progress]:
        if not self._opened.has_log():
            return {}
        with self._opened.reading() as log:
            offsets = {name: log.offset(self._given.source, name) for name in names}
        return {name: msgspec.json.decode(text, type=Progress) for name, text in offsets.items() if text is not None}

    def _is_over(self, name: str, progress: Progress) -> bool:
        """Whether nothing is left to do for a file, as it is now."""
        if progress.state not in {DONE, ASIDE}:
            return False
        stamp = self._given.stamp(name)
        if stamp is None or self._settled.get(name) == stamp:
            return True
        if stamp != (progress.size, progress.changed_ns) or not progress.sha256:
            with self._given.opened(name) as path:
                digest = _digest(path)
            if digest != progress.sha256 and progress.state == ASIDE:
                return False
            if digest != progress.sha256:
                self._tell(
                    f"{name} has changed since it was taken, and is not taken again. Bring what is new as another file"
                )
        self._settled[name] = stamp
        return True

    def _record(self, name: str, progress: Progress, before: Progress | None) -> None:
        """Record how far a file is, by whoever writes the log."""
        if not self._opened.has_log():
            with self._opened.writing():  # which makes it
                pass
        try:
            with closing(self._opened.open_log(read_only=False)) as log:
                log.append(Batch(offsets=[self._offset(name, progress)]))
        except LogBusyError:
            self._hand(name, (), progress, before, is_first=False)

    def _offset(self, name: str, progress: Progress) -> Offset:
        return Offset(self._given.source, name, _text(progress))

    def _hand(
        self,
        name: str,
        submissions: Sequence[Submission],
        progress: Progress,
        before: Progress | None,
        *,
        is_first: bool,
    ) -> list[Answer]:
        """Have the process that writes the log take lines of a file. Raises: _ReadOnError where another one did."""
        definitions = self._opened.definitions
        answers = Labelling(self._opened).hand(
            HandedLines(
                given(submissions, definitions.settings.money_places, definitions.events.types),
                self._given.source,
                name,
                _text(progress),
                None if before is None else _text(before),
                self._options.decide,
                is_first,
            )
        )
        if answers is None:
            raise _ReadOnError
        return answers

    # ---- one file

    def _take(self, name: str, before: Progress | None) -> FileReport | None:
        """What becomes of a file that is complete; None where it changed, or went away, meanwhile."""
        is_resumed = before is not None and before.state == APPENDED
        if before is not None and is_resumed:
            return self._learn(name, before, None)
        stamp = self._given.stamp(name)
        with self._given.opened(name) as path:
            if not path.exists():
                return None
            progress = self._begun(path, stamp)
            try:
                self._look_into(path)
            except _UNREADABLE as error:
                return self._set_aside(name, progress, before, _words(error, path))
            if self._given.stamp(name) != stamp:
                return None
            try:
                taken = self._append(name, path, progress, before)
            except _ReadOnError:
                return None
        if isinstance(taken, FileReport):
            return taken
        return self._learn(name, *taken)

    def _begun(self, path: Path, stamp: Stamp | None) -> Progress:
        size, changed_ns = stamp or (path.stat().st_size, 0)
        return Progress(APPENDING, size, changed_ns, _digest(path))

    @contextmanager
    def _submissions(self, path: Path, *, with_its_labels: bool = True) -> Iterator[Iterator[Submission]]:
        """The lines of a file as events, or as labels where its name says that; as both where they are asked for."""
        are_labels = LABELS.search(path.name)
        intake = intake_of(self._opened, keeps_hashes=False)
        with ExitStack() as opened:
            lines = opened.enter_context(read_lines(path))
            found = intake.submissions(lines, path.name, "label" if are_labels else self._event, is_default=True)
            if self._options.labels_inside and with_its_labels and not are_labels:
                again = opened.enter_context(read_lines(path))
                found = with_labels(found, intake.submissions(again, path.name, "label"))
            yield found

    def _look_into(self, path: Path) -> None:
        """Read a file to its end. Raises: what says that it cannot be taken."""
        count = untaken = 0
        last: Submission | None = None
        with self._submissions(path, with_its_labels=False) as submissions:
            for last in submissions:
                count += 1
                untaken += last.event is None and last.label is None and last.refusal is None
        if last is None:
            raise BrokenFileError("it has no lines")
        if last.refusal is not None and path.suffix.lower() in _TEXTS and not _ends_a_line(path):
            raise BrokenFileError(f"its last line is cut off: {last.refusal}")
        if untaken == count:
            raise BrokenFileError("no event type takes its lines; say with --as what they are")

    def _append(
        self, name: str, path: Path, progress: Progress, before: Progress | None
    ) -> tuple[Progress, IngestReport] | FileReport:
        """Bring a file into the log, from where a process before this one came to."""
        is_begun = before is not None and before.state == APPENDING
        skipped = before.lines if before is not None and is_begun and before.sha256 == progress.sha256 else 0
        with ExitStack() as held:
            submissions = islice(held.enter_context(self._submissions(path)), skipped, None)
            now = _with(progress, lines=skipped, after=before.after if before is not None and is_begun else 0)
            try:
                try:
                    writer, log = held.enter_context(self._opened.writing())
                except LogBusyError as error:
                    self._tell(f"{error.by} writes the log, and takes the lines of files between its own batches")
                    return self._append_beside(name, submissions, now, before)
                return self._append_here(name, submissions, now, writer, log)
            except UsageError as error:  # too many of its lines are too late; nothing was written
                why = _words(error, path)
        return self._set_aside(name, progress, before, why)

    def _append_here(
        self, name: str, submissions: Iterator[Submission], now: Progress, writer: Writer, log: Log
    ) -> tuple[Progress, IngestReport]:
        if self._options.decide:
            writer.definitions.require_models()
            for remark in writer.definitions.remarks():
                self._tell(remark.rstrip("."))
        now = _with(now, after=now.after or log.last_seq())

        def offsets(batch: Sequence[Submission]) -> list[Offset]:
            nonlocal now
            now = _with(now, lines=now.lines + len(batch))
            return [self._offset(name, now)]

        with closing(Inboxes(self._opened).brief(writer, log)) as inbox:
            report = ingest(
                writer,
                arranged([(name, submissions)], writer),
                decide=self._options.decide,
                inbox=inbox,
                offsets=offsets,
            )
        now = _appended(now, is_new=log.last_seq() > now.after)
        log.append(Batch(offsets=[self._offset(name, now)]))
        return now, report

    def _append_beside(
        self, name: str, submissions: Iterator[Submission], now: Progress, before: Progress | None
    ) -> tuple[Progress, IngestReport]:
        """Have the process that writes the log take a file: a thousand lines at a time, each with how far that is."""
        with self._opened.reading() as log:
            last_seq = log.last_seq()
        report, is_first = IngestReport(), True
        is_new = 0 < now.after < last_seq  # lines that a process before this one brought, or another one's meanwhile
        now = _with(now, after=now.after or last_seq)
        for batch in batches(submissions, ROWS_MAX):
            read = _with(now, lines=now.lines + len(batch))
            answers = self._hand(name, batch, read, before, is_first=is_first)
            report.add(Prepared(Batch(), answers))
            now = before = read
            is_first = False
        is_new = is_new or report.events.appended + report.labels.appended > 0
        now = _appended(now, is_new=is_new)
        self._record(name, now, before)
        return now, report

    def _set_aside(self, name: str, progress: Progress, before: Progress | None, why: str) -> FileReport:
        self._record(name, _with(progress, state=ASIDE, why=why), before)
        return FileReport(name, ASIDE, why)

    # ---- learning

    def _learn(self, name: str, progress: Progress, appended: IngestReport | None) -> FileReport:
        """A model of all that the log has now, if the file brought anything."""
        if progress.state == DONE:
            return FileReport(name, DONE, progress.why, appended)
        brought_by = {"source": self._given.source, "file": name, "sha256": progress.sha256}
        report = None if appended is not None else self._made_before(name, brought_by)
        if report is None:
            report = self._trained(name, brought_by, appended)
        done = _with(progress, state=DONE, model=report.model, why=report.why)
        with suppress(_ReadOnError):
            self._record(name, done, progress)
        return report

    def _trained(self, name: str, brought_by: dict[str, str], appended: IngestReport | None) -> FileReport:
        options = self._options
        try:
            found = self._training.train(
                self._event,
                promote=options.promote,
                by=options.by,
                steps=self._steps,
                brought_by=brought_by,
                cluster=options.cluster,
            )
        except UsageError as error:
            return FileReport(name, DONE, str(error), appended)
        why = "" if found.promoted else found.why_not
        return FileReport(name, DONE, why, appended, found, found.stored.id, promoted=found.promoted)

    def _made_before(self, name: str, brought_by: dict[str, str]) -> FileReport | None:
        """The model that a process made for this file before it was killed; promoted now if it did not come to that."""
        opened, models = self._opened, Promotions(self._opened)
        for summary in opened.registry.summaries():
            if summary.problem:
                continue
            stored = opened.registry.read(summary.id)
            if stored.manifest.get("brought_by") == brought_by:
                break
        else:
            return None
        deployed: Deployment | None = None
        if self._options.promote and not models.one(stored.id).role:
            deployed = models.promote(stored.id, by=self._options.by)
        why = failure_of(stored.failed) if deployed is None else deployed.failure or deployed.why_not
        is_champion = models.one(stored.id).role == "champion"
        return FileReport(name, DONE, why, None, None, stored.id, promoted=is_champion)


_NOTHING_NEW: Final = "it brought no event and no label that the log did not have"
_UNREADABLE: Final = (UsageError, NotThereYetError, OSError, ValueError)  # the last two: of libraries, in the middle


def _appended(progress: Progress, *, is_new: bool) -> Progress:
    return _with(progress, state=APPENDED if is_new else DONE, why="" if is_new else _NOTHING_NEW)


def _text(progress: Progress) -> str:
    return msgspec.json.encode(progress).decode()


def _with(progress: Progress, **changes: object) -> Progress:
    return msgspec.structs.replace(progress, **changes)


def _words(error: Exception, path: Path) -> str:
    """Why a file is set aside, without the path of a file that is named beside."""
    text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return text.replace(f"{path}", path.name).rstrip(".")


def _digest(path: Path) -> str:
    """The SHA-256 of a file; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in b"\r\n"
