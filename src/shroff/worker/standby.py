"""Standby: follows a log that another process leads, and takes it over when that process is gone."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Event
from typing import Protocol

from msgspec import Struct, field

from shroff.errors import LogBusyError, StorageError, TransientError
from shroff.log.state.fold import Folded, Progress, fold, lateness_of
from shroff.log.state.snapshots import saved
from shroff.project.definitions import Definitions
from shroff.runtime.progress import Tell, unheard
from shroff.streams.log import Log
from shroff.streams.snapshots import Snapshots

TRY_S = 0.5  # between attempts to take the lead
LOOK_S = 0.05  # between checks for new records
AT_ONCE = 8_192  # records folded in one step at first; later as many as take about `STEP_S`
AT_ONCE_MIN = 256
AT_ONCE_MAX = 65_536
STEP_S = 0.25  # so that a free lead is noticed even far behind the end of the log

Start = tuple[Folded, int]  # folded state, and the sequence number of the newest snapshot


class FollowedProject(Protocol):
    """A project whose log can be followed and led."""

    @property
    def snapshots(self) -> Snapshots:
        """Snapshots of the state."""

    def open_log(self, *, read_only: bool) -> Log:
        """Open the log; the caller closes it. Raises: LogBusyError if another process writes."""

    def definitions(self) -> Definitions:
        """Load the project's files as they are now. Raises: DefinitionError."""

    def follow(self, log: Log) -> str:
        """Apply settings that the active writer of this log activated; return why not, or an empty text."""


class Standby(Struct, eq=False):
    """Waits for the lead of a log, and keeps state near its end.

    The state is that of the project's files. When the active writer activates another version, the files are read
    again; if they changed, the log is folded from the start.
    """

    _place: FollowedProject
    _stop: Event
    _tell: Tell = unheard
    _restoring: Progress | None = None
    _log: Log | None = None
    _start: Start | None = None
    _lateness_ms: int = 0
    _leaps: tuple[tuple[int, int], ...] = ()
    _at_once: int = field(default_factory=lambda: AT_ONCE)
    _has_caught_up: bool = False
    _told: str = ""

    def lead(self) -> tuple[Log, Start | None] | None:
        """Wait until no other process leads; return the log, open for writing, and state near its end if there is any.

        Returns None if `stop` is set before.
        Raises: DefinitionError if the project's files have errors; StateError for a log that cannot be read.
        """
        try:
            while not self._stop.is_set():
                try:
                    log = self._place.open_log(read_only=False)
                except LogBusyError as busy:
                    self._say(f"standby: {busy.by} is the active writer")
                except (TransientError, OSError) as error:
                    self._say(f"standby, waiting: {error}")
                else:
                    self._tell("taking over")
                    return log, self._fitting(log)
                self._follow(time.monotonic() + TRY_S)
        finally:
            self._let_go()
        return None

    @property
    def seq(self) -> int:
        return 0 if self._start is None else self._start[0].seq

    def _say(self, message: str) -> None:
        if message != self._told:
            self._told = message
            self._tell(message)

    def _follow(self, until_s: float) -> None:
        try:
            refusal = "" if self._log is None else self._place.follow(self._log)
            if refusal:
                self._tell(refusal)
            while not self._stop.is_set() and time.monotonic() < until_s:
                if not self._folds_some():
                    self._stop.wait(LOOK_S)
        except (TransientError, StorageError, OSError) as error:
            self._say(f"standby, waiting: {error}")
            self._let_go()
            self._stop.wait(max(0.0, until_s - time.monotonic()))

    def _folds_some(self) -> bool:
        if self._log is None:
            self._log = self._place.open_log(read_only=True)
        if self._start is None:
            self._begin(self._log)
            return True
        folded, saved_seq = self._start
        end = min(self._log.last_seq(), folded.seq + self._at_once)
        if end <= folded.seq:
            self._has_caught_up = True
            return False
        versions = folded.control.versions
        definitions = folded.engine.definitions
        self._start = None  # state is useless if folding fails midway
        began_s = time.monotonic()
        fold(self._log, definitions, end, None if self._has_caught_up else self._restoring, folded)
        self._at_once = paced(self._at_once, time.monotonic() - began_s)
        if folded.control.versions == versions or self._place.definitions().versions == definitions.versions:
            self._start = folded, saved_seq
        return True

    def _begin(self, log: Log) -> None:
        """Start from a snapshot; the records after it are folded step by step."""
        definitions = self._place.definitions()
        folded, warnings = saved(self._place.snapshots, log, definitions)
        for warning in warnings:
            self._tell(warning)
        self._lateness_ms = late = lateness_of(log, definitions)
        self._leaps = late.leaps
        self._start = folded, folded.seq

    def _fitting(self, log: Log) -> Start | None:
        """Return the state if files and lateness are still those it was made with."""
        if self._start is None:
            return None
        definitions = self._start[0].engine.definitions
        is_same = self._place.definitions().versions == definitions.versions
        lateness = lateness_of(log, definitions)  # differs if the watermark was set back meanwhile
        is_same = is_same and (lateness, lateness.leaps) == (self._lateness_ms, self._leaps)
        return self._start if is_same else None

    def _let_go(self) -> None:
        log = self._log
        self._log = None
        if log is not None:
            with suppress(TransientError, StorageError):
                log.close()


def paced(at_once: int, took_s: float) -> int:
    """Return how many records to fold in the next step, given how long the last one took."""
    if took_s > STEP_S:
        return max(AT_ONCE_MIN, at_once // 2)
    return min(AT_ONCE_MAX, at_once * 2) if took_s < STEP_S / 4 else at_once
