"""What an opened project adds to its log one by one: labels, quarantined input, changed files. Beside a writer too."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.app.elsewhere import Elsewhere
from shroff.app.live.lane_views import ONLY_ALL, behind
from shroff.errors import DefinitionError, LogBusyError, ShroffError, UsageError, ended
from shroff.events.event import time_text
from shroff.events.formats.encodings import format_by_name, read_lines
from shroff.log.deeds import Deed
from shroff.project.definitions import HASHED, Definitions
from shroff.runtime.progress import Progress, counted, unheard
from shroff.streams.log import Batch, Log, Request

if TYPE_CHECKING:
    import msgspec

    from shroff.events.door import LabelInput
    from shroff.events.intake import Intake, Submission
    from shroff.log.state.snapshots import Saved
    from shroff.log.writer import Answer, Writer
    from shroff.project.checked_files import CheckedFiles
    from shroff.worker.handed import Lines
    from shroff.worker.inbox import Inbox
    from shroff.worker.ingest import IngestReport
    from shroff.worker.retrying import Retried

Waits = Callable[[str], None]
FIRST_EVENTS: Final = "Bring events in with 'shroff ingest FILE --as EVENT'."
MADE_WITHIN_S: Final = 2.0  # from a new writer's lock to its log it was seen to take milliseconds
RETRIED: Final = (
    "what is quarantined in one lane may belong to another; 'shroff quarantine show' has the bytes, and who sends them "
    "to their topic again has them in the lane where they belong"
)


class Additions(Elsewhere):
    """Single records for the log of a project.

    Where another process writes, each goes into the log's inbox, and the call returns when
    that process has committed it; `waits` is told what holds if nobody waits so long, and
    `waiting` for whom, where it lasts.
    """

    __slots__ = ()

    places: config.Places
    now_ms: Callable[[], int]
    waiting: Callable[[str], None]

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @property
    @abstractmethod
    def hasher(self) -> Callable[[str], str]:
        """What stands for the clear values of hashed fields."""

    @abstractmethod
    def writing(self, progress: Progress | None = None) -> AbstractContextManager[tuple[Writer, Log]]:
        """The log's writer. Raises: LogBusyError where another process writes."""

    @abstractmethod
    def open_log(self, *, read_only: bool) -> Log:
        """The log, to be closed by the caller. Raises: LogBusyError where another process writes."""

    @abstractmethod
    def inbox(self, writer: Writer, log: Log) -> Inbox:
        """The inbox of a log that this process writes."""

    @abstractmethod
    def put_request(self, log: Log, kind: str, body: bytes, at_ms: int, deed: Deed | None) -> int:
        """Put a request into the inbox of the log, and what it does into the record, in one transaction."""

    @abstractmethod
    def record(self, deed: Deed) -> None:
        """Put into the record what is done without a request; nothing where the project has no log yet."""

    @abstractmethod
    def intake(self, *, keeps_hashes: bool) -> Intake:
        """The door for files and lines."""

    @abstractmethod
    def check_with(self, changes: Mapping[str, str], without: Collection[str] = ()) -> Definitions:
        """The definitions if these files had these texts. Raises: DefinitionError where they would have mistakes."""

    @abstractmethod
    def refuse_alone(self, name: str) -> None:
        """Raises: NotAllowedError for a list to which nobody adds alone, where shroff.yaml says so."""

    @abstractmethod
    def reload(self) -> None:
        """Read the project's files again when they are next needed."""

    # ---- labels and quarantine

    def label(
        self,
        event: str,
        verdict: str,
        *,
        source: str | None = None,
        known_at: str | datetime | None = None,
        reason: str | None = None,
        amount: str | Decimal | None = None,
        waits: Waits = unheard,
    ) -> Answer:
        """Record one label, of `payment/p-1` or of `p-1` while one type is decided.

        Args:
            verdict: `fraud`, `genuine` or `unclear`.
            source: `chargeback`, `analyst`, `customer` or `import`, from strong to weak; left out, `import`.
            known_at: When it became known, a `datetime` without a zone in UTC; left out, now, or the time of its event
                where that is later. What this source said of the event last is then a duplicate.

        Raises: UsageError where it is no label and there is no log yet, in whose quarantine it would stand.
        """
        import msgspec

        from shroff.events.given import text_of
        from shroff.events.intake import undated
        from shroff.log.draft import DUPLICATE, Answer
        from shroff.worker.inbox import LABELS, answers_of, labels_request

        more = {"source": source, "known_at": known_at, "reason": reason, "amount": amount}
        given = {"event": event, "verdict": verdict, "known_at": time_text(self.now_ms())}
        given |= {name: text for name, value in more.items() if (text := text_of(value)) is not None}
        raw = msgspec.json.encode({"label": given})
        intake = self.intake(keeps_hashes=True)
        one = intake.submit("label", given, source="shroff label", place="1", raw=raw, is_strict=True)
        one = undated(one) if known_at is None else one
        if one.refusal is not None:
            self._needs_log(f"and what is no label makes none: {one.refusal}")
        if known_at is None and one.label is not None and self._is_said(one.label):
            return Answer(DUPLICATE, "label", event, is_label=True)
        deed = Deed("label.add", event, None, {"verdict": verdict, "source": source})
        if self.is_parted:
            self.record(deed)
            return self._labels_to_lanes([one])[0]
        return answers_of(self._ask(LABELS, labels_request([one], intake.money_places), waits, deed))[0]

    def _is_said(self, label: LabelInput) -> bool:
        from shroff.log.history import is_said

        for one in self.each_lane() if self.is_parted else [self]:
            if one.has_log():
                with one.reading() as log:
                    if is_said(log, label, self.definitions.settings.money_places):
                        return True
        return False

    def label_file(self, file: Path, progress: Progress | None = None, waits: Waits = unheard) -> IngestReport:
        """Record the labels of a file, as `ingest` does; beside a writer through the inbox, many at a time."""
        if file.is_file():
            self.record(Deed("label.file", f"file {file.name}"))
        if self.lanes > 1:
            return self._label_file_to_lanes(file, progress)
        try:
            return self.ingest(file, as_type="label", is_hashed=True, progress=progress)
        except LogBusyError:
            return self._label_file_beside(file, progress, waits)

    def _label_file_beside(self, file: Path, progress: Progress | None, waits: Waits) -> IngestReport:
        from shroff.log.draft import Prepared
        from shroff.worker.inbox import LABELS, ROWS_MAX, answers_of, labels_request
        from shroff.worker.ingest import IngestReport, batches

        intake, report = self.intake(keeps_hashes=True), IngestReport()
        with read_lines(file) as lines:
            submissions = counted(intake.submissions(lines, file.name, "label"), progress)
            for part in batches(submissions, ROWS_MAX):
                answers = answers_of(self._ask(LABELS, labels_request(part, intake.money_places), waits))
                report.add(Prepared(Batch(), answers))
        return report

    def _label_file_to_lanes(self, file: Path, progress: Progress | None) -> IngestReport:
        from shroff.log.draft import Prepared
        from shroff.worker.inbox import ROWS_MAX
        from shroff.worker.ingest import IngestReport, batches

        if self.places.lane is not None:
            raise UsageError("labels go to the lanes of their events: leave --lane out.")
        intake, report = self.intake(keeps_hashes=True), IngestReport()
        with read_lines(file) as lines:
            submissions = counted(intake.submissions(lines, file.name, "label"), progress)
            for part in batches(submissions, ROWS_MAX):
                report.add(Prepared(Batch(), self._labels_to_lanes(part)))
        return report

    def _labels_to_lanes(self, labels: Sequence[Submission]) -> list[Answer]:
        """Send labels to the lanes of their events; what became of each, as far as these took them up."""
        from shroff.worker.lanes.labels import send_labels

        return send_labels(self, labels)

    def hand(self, lines: Lines) -> list[Answer] | None:
        """Have the process that writes the log take lines of a file, and give what became of each; None where it knows
        another process to have read on.

        Raises: UsageError where too many of them are too late, and none was taken.
        """
        import msgspec

        from shroff.worker.inbox import LINES, taken_of

        return taken_of(self._ask(LINES, msgspec.json.encode(lines), unheard))

    def retry(self, numbers: Sequence[int], files: Sequence[Path] = (), waits: Waits = unheard) -> list[Retried]:
        """Bring quarantined input back in, all of it without numbers; what is refused again stays.

        `files` are those that CSV lines came from, or others with the same name and first line.

        Raises: UsageError where there is no log yet.
        """
        from shroff.worker.inbox import RETRY, retried_of, retry_request

        self.refuse_lanes(RETRIED)
        self._needs_log("so nothing is in quarantine")
        _check_numbers(numbers)
        headers = {path.name: columns for path in files if (columns := _columns(path)) is not None}
        deed = Deed("quarantine.retry", "quarantine", None, list(numbers) or "all")
        return retried_of(self._ask(RETRY, retry_request(numbers, headers), waits, deed))

    def drop(self, numbers: Sequence[int], waits: Waits = unheard) -> int:
        """Remove entries from quarantine for ever, all of them without numbers; gives how many there were.

        Raises: UsageError where there is no log yet.
        """
        from shroff.worker.inbox import DROP, ask, drop, drop_request, dropped_of, staying

        self._needs_log("so nothing is in quarantine")
        _check_numbers(numbers)
        body, now_ms = drop_request(numbers), self.now_ms()
        if not numbers:  # what comes in while the request waits stays
            with self.reading() as log:
                body = drop_request(log.refused_numbers(), is_all=True)

        deed = Deed("quarantine.drop", "quarantine", None, list(numbers) or "all")

        def put(log: Log) -> int:
            return self.put_request(log, DROP, body, now_ms, deed)

        def alone(number: int | None) -> bytes:
            """Without a writer: it would put the project's files in force, and they may have mistakes."""
            with closing(self.open_log(read_only=False)) as log:
                if number is None:
                    number = put(log)
                    with staying():
                        return drop(log, Request(number, DROP, body, now_ms))
                reply = log.reply_to(number)
                return reply if reply is not None else drop(log, Request(number, DROP, body, now_ms))

        return dropped_of(ask(put, alone, self._beside, waits, self.waiting))

    def _needs_log(self, why: str) -> None:
        """Raises: UsageError where there is no log yet; what can be about nothing makes none."""
        if not self.has_log():
            raise UsageError(ended(f"this project has no log yet, {why}"))

    def _ask(self, kind: str, body: bytes, waits: Waits, deed: Deed | None = None) -> msgspec.Raw:
        """What came of a request, carried out by the process that writes the log, or by this one where none does."""
        from shroff.worker.inbox import ask, staying

        now_ms = self.now_ms()

        def put(log: Log) -> int:
            return self.put_request(log, kind, body, now_ms, deed)

        def alone(number: int | None) -> bytes:
            with self.writing() as (writer, log), closing(self.inbox(writer, log)) as inbox:
                if number is not None:
                    return inbox.replied(number)
                number = put(log)
                with staying():
                    return inbox.replied(number)

        return ask(put, alone, self._beside, waits, self.waiting)

    @contextmanager
    def _beside(self) -> Iterator[Log]:
        """The log, to read, where another process writes it: one that has just begun may still have to make it."""
        deadline = time.monotonic() + MADE_WITHIN_S
        while not self.has_log() and time.monotonic() < deadline:
            time.sleep(0.01)
        with self.reading() as log:
            yield log

    # ---- state

    def snapshot(self, progress: Progress | None = None, waits: Waits = unheard) -> Saved:
        """Save state, so that the next start reads only what comes after it; beside a writer that one saves its own.

        Raises: UsageError where there is no log yet; StorageError where it cannot be written.
        """
        from shroff.worker.inbox import SNAPSHOT, saved_of

        if not self.has_log():
            raise UsageError(f"this project has no log yet, so there is no state to save. {FIRST_EVENTS}")
        try:
            with self.writing(progress) as (writer, _):
                return writer.snapshot()
        except LogBusyError:
            return saved_of(self._ask(SNAPSHOT, b"null", waits))

    # ---- what comes into force

    def _files_in_force(self) -> Mapping[str, str]:
        """The project's files as the log has them in force; none where there is no log, or none that can be read."""
        from shroff.log.history import control_at

        with suppress(ShroffError), self.each_lane()[0].reading() as log:
            return control_at(log).files
        return {}

    def _end_of_log(self) -> int:
        """The last place of the log; 0 where there is none, or none that can be read."""
        with suppress(ShroffError), self.each_lane()[0].reading() as log:
            return log.last_seq()
        return 0

    def _changed_behind(self, seq: int) -> set[str]:
        """The files of the project that came into force with another text behind a place of the log, or went."""
        from shroff.log.history import changed_by

        with suppress(ShroffError), self.each_lane()[0].reading() as log:
            return {name for one in log.controls(seq) for name in changed_by(one)}
        return set()

    def _put_in_force(
        self, waits: Waits, written: str, *, rows_alone: bool = True, known: CheckedFiles | None = None
    ) -> tuple[bool, str]:
        """Have the project's files as they are now put in force; whether they are, and why not.

        The file is written by now, as `written` says, and was recorded before, so whatever goes wrong says that it
        waits, and never that nothing was done.

        Args:
            rows_alone: Nothing but rows of lists may have changed.
            known: What is known of the files, where they need not be read for it.
        """
        from shroff.worker.inbox import ADOPT

        if self.places.lane is not None:
            return False, ONLY_ALL
        if not self.has_log():
            return False, "this project has no log yet; its files come into force with the first events"
        waits(written)
        if self.is_parted:
            return self._put_in_force_in_lanes()
        try:
            if not (rows_alone and self._rows_in_force(known)):
                self._ask(ADOPT, b"null", waits)
        except DefinitionError as error:  # they are well, and do not fit the log: the file was checked before
            return False, f"the project's files cannot come into force: {error.problems[0]}"
        except ShroffError as error:
            return False, str(error)
        return True, ""

    def _rows_in_force(self, known: CheckedFiles | None) -> bool:
        """Put rows of lists in force that no state is made of, where nobody writes the log; False where it takes more.

        The log is not folded for it, and no rule is compiled: the next writer's state is what it would be anyhow.
        """
        from shroff.log.history import control_at, control_of
        from shroff.project.look_ups import differs_in_rows

        definitions = self.definitions if known is None else None
        try:
            with closing(self.open_log(read_only=False)) as log:
                control = control_at(log)
                now = definitions or (known and known.rows(control.files, self._hashing()))
                if not now or log.asked(limit=1) or not differs_in_rows(control.versions, control.files, now):
                    return False
                if record := control_of(control, now, log.last_seq() + 1, self.now_ms()):
                    log.append(Batch(records=[record], at_ms=record.time_ms))
                return True
        except LogBusyError:
            return False

    def _hashing(self) -> Callable[[str], str]:
        """Gives what stands for a value of a list that is compared with a hashed field; each is hashed once."""
        hasher = self.hasher
        return cache(lambda value: value if HASHED.fullmatch(value) else hasher(value))

    def _put_in_force_in_lanes(self) -> tuple[bool, str]:
        try:
            late = behind(self.tell_lanes())
        except ShroffError as error:
            return False, str(error)
        return not late, late


def _check_numbers(numbers: Sequence[int]) -> None:
    """Raises: UsageError for what is no number of an entry, before anything is asked."""
    for number in numbers:
        if type(number) is not int:
            raise UsageError(f"entries of quarantine are named by their numbers, and {number!r} is none.")


def _columns(path: Path) -> tuple[str, ...] | None:
    """The names of a file's columns, None where it has none; where its ending says nothing, it is CSV."""
    with read_lines(path, format_by_name(path.name) or "csv") as lines:
        return lines.columns
