"""Requests of an opened project to the process that writes its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

from msgspec.json import encode as to_json

from shroff.errors import DefinitionError, LogBusyError, ShroffError, UsageError, ended
from shroff.json_types import TextMapping
from shroff.people.audit import Action
from shroff.project.definitions import HASHED
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.writer.request_inbox import Inboxes
from shroff.streams.log import Batch, InboxRequest, Log

if TYPE_CHECKING:
    import msgspec

    from shroff.project.checked_files import CheckedFiles


class WriterRequests(ProjectPart):
    """Requests to the process that writes the log, or carried out here where none does."""

    _inboxes: Inboxes
    _people: ProjectPeople

    def needs_log(self, why: str) -> None:
        """Raises: UsageError if there is no log yet; such requests do not create one."""
        if not self._log.exists():
            raise UsageError(ended(f"this project has no log yet, {why}"))

    def ask(self, kind: str, body: bytes, action: Action | None = None) -> msgspec.Raw:
        """Return the result of a request, carried out by the process that writes the log, or by this one if there is
        none.

        If the request needs only the log, no writer is created here: it would restore state, and activate the project's
        files, which may have errors.
        """
        from shroff.worker.inbox import ask, staying
        from shroff.worker.inbox_server import BY_THE_LOG, carry_out

        now_ms = self._now_ms()

        @contextmanager
        def here() -> Iterator[tuple[Log, Callable[[int], bytes]]]:
            if kind not in BY_THE_LOG:
                with self._log.writing() as (writer, log), closing(self._inboxes.brief(writer, log)) as inbox:
                    yield log, inbox.replied
                return
            with closing(self._log.open(read_only=False)) as log:

                def replied(number: int) -> bytes:
                    request = InboxRequest(number, kind, body, now_ms)
                    return log.inbox.reply_to(number) or carry_out(log, request)

                yield log, replied

        def put(log: Log) -> int:
            return self._people.put_request(log, kind, body, now_ms, action)

        def alone(number: int | None) -> bytes:
            with here() as (log, reply):
                if number is not None:
                    return reply(number)
                number = put(log)
                with staying():
                    return reply(number)

        return ask(put, alone, self.beside, self._context.waits, self._context.waiting)

    @contextmanager
    def beside(self) -> Iterator[Log]:
        """Open the log to read while another process writes it; waits for a new writer to create it."""
        deadline = time.monotonic() + MADE_WITHIN_S
        while not self._log.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._log.reading() as log:
            yield log

    def files_in_force(self) -> TextMapping:
        """Return the active files in the log; empty if there is no readable log."""
        from shroff.log.history import control_at

        with suppress(ShroffError), self._log.reading() as log:
            return control_at(log).files
        return {}

    def end_of_log(self) -> int:
        """Return the last sequence number; 0 if there is no readable log."""
        with suppress(ShroffError), self._log.reading() as log:
            return log.last_seq()
        return 0

    def changed_behind(self, seq: int) -> set[str]:
        from shroff.log.history import changed_by

        with suppress(ShroffError), self._log.reading() as log:
            return {name for control in log.controls(seq) for name in changed_by(control)}
        return set()

    def put_in_force(
        self, written: str, files: list[str] | None, *, rows_alone: bool = True, known: CheckedFiles | None = None
    ) -> str:
        """Activate written files; return why that failed, empty if they are active.

        `files` is None for all files as they are now.

        The file is written already, as the message `written` says, and audited, so every failure reports that
        activation is pending, never that nothing was done.

        A command activates all files. In a service the caller may lack the right to apply other files, or a second
        person must approve them.

        Args:
            rows_alone: Only rows of lists may have changed.
            known: Cached check of the files, if they need not be read.
        """
        from shroff.worker.inbox import ADOPT

        if self._context.adopt is not None:
            return self._context.adopt(files)
        if not self._log.exists():
            return "this project has no log yet; its files become active with the first event"
        self._context.waits(written)
        try:
            if not (rows_alone and self._rows_in_force(known)):
                self.ask(ADOPT, to_json(files if self._context.asked_by else None))
        except DefinitionError as error:  # valid files that do not fit the log: the file was checked before
            return f"the project's files cannot become active: {error.problems[0]}"
        except ShroffError as error:
            return str(error)
        return ""

    def _rows_in_force(self, checked_files: CheckedFiles | None) -> bool:
        """Activate list rows that no state depends on, if no process writes the log; False if that is not enough.

        Neither folds the log nor compiles rules: the next writer's state is the same either way.
        """
        from shroff.log.active_files import followed
        from shroff.log.history import control_of
        from shroff.project.look_ups import differs_in_rows

        try:
            with closing(self._log.open(read_only=False)) as log:
                control, _ = followed(log, self._context.read_once)
                rows = checked_files and checked_files.rows(control.versions, control.files, self.hashing())
                now = rows or self._definitions
                if log.inbox.pending(limit=1) or not differs_in_rows(control.versions, control.files, now):
                    return False
                if record := control_of(control, now, log.last_seq() + 1, self._now_ms()):
                    log.append(Batch(records=[record], at_ms=record.time_ms))
                if checked_files:
                    checked_files.keep(self._paths.checked, now.versions.lists)
                return True
        except LogBusyError:
            return False

    def hashing(self) -> Callable[[str], str]:
        hasher = self._log.hasher
        return cache(lambda value: value if HASHED.fullmatch(value) else hasher(value))


MADE_WITHIN_S = 2.0  # a new writer creates its log milliseconds after its lock
