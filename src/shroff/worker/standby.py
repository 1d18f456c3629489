"""Standing by: folding a log along that another process leads, and taking it over when that one is gone."""

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

TRY_S = 0.5  # how often the lead is tried for
LOOK_S = 0.05  # how often the log is looked at for more
AT_ONCE = 8_192  # places folded between two looks at anything else, at first,
AT_ONCE_MIN = 256  # at least,
AT_ONCE_MAX = 65_536  # and at most: as many as take about
STEP_S = 0.25  # so long, so that a free lead is seen however far behind the log this process is

Start = tuple[Folded, int]  # state at some place of the log, and the place of the newest snapshot


class FollowedProject(Protocol):
    """A project whose log can be followed, and led."""

    @property
    def snapshots(self) -> Snapshots:
        """Where state is saved."""

    def open_log(self, *, read_only: bool) -> Log:
        """The log, to be closed by the caller. Raises: LogBusyError where another process writes."""

    def definitions(self) -> Definitions:
        """The project's files as they are now. Raises: DefinitionError."""

    def follow(self, log: Log) -> str:
        """Take up settings that the process which leads this log has made active; gives why not, empty else."""


class Standby(Struct, eq=False):
    """Waits for the lead of a log.

    Its state is that of its own files over the log. When the process that leads puts another version in force, the
    files are read again; where they are others than before, the log is folded anew.
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
        """The log, opened for writing, as soon as nobody else leads it; and state near its end, where there is some.

        Nothing where `stop` was set before.
        Raises: DefinitionError where the project's files have mistakes; StateError for a log that cannot be read.
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
        """The place that has been folded."""
        return 0 if self._start is None else self._start[0].seq

    def _say(self, words: str) -> None:
        """Tell what is waited for, once."""
        if words != self._told:
            self._told = words
            self._tell(words)

    def _follow(self, until_s: float) -> None:
        """Fold what the log has, until it is time to try for the lead."""
        try:
            if self._log is not None and (words := self._place.follow(self._log)):
                self._tell(words)
            while not self._stop.is_set() and time.monotonic() < until_s:
                if not self._folds_some():
                    self._stop.wait(LOOK_S)
        except (TransientError, StorageError, OSError) as error:
            self._say(f"standby, waiting: {error}")
            self._let_go()
            self._stop.wait(max(0.0, until_s - time.monotonic()))

    def _folds_some(self) -> bool:
        """Whether there was something to fold."""
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
        self._start = None  # where folding fails half way, state is of no use
        began_s = time.monotonic()
        fold(self._log, definitions, end, None if self._has_caught_up else self._restoring, folded)
        self._at_once = paced(self._at_once, time.monotonic() - began_s)
        if folded.control.versions == versions or self._place.definitions().versions == definitions.versions:
            self._start = folded, saved_seq
        return True

    def _begin(self, log: Log) -> None:
        """State from a snapshot; what the log has behind it is folded step by step."""
        definitions = self._place.definitions()
        folded, warnings = saved(self._place.snapshots, log, definitions)
        for words in warnings:
            self._tell(words)
        self._lateness_ms = late = lateness_of(log, definitions)
        self._leaps = late.leaps
        self._start = folded, folded.seq

    def _fitting(self, log: Log) -> Start | None:
        """The state, where the project's files and the log's versions are still those that it was made with."""
        if self._start is None:
            return None
        definitions = self._start[0].engine.definitions
        is_same = self._place.definitions().versions == definitions.versions
        now = lateness_of(log, definitions)  # others where the watermark was set back meanwhile
        return self._start if is_same and (now, now.leaps) == (self._lateness_ms, self._leaps) else None

    def _let_go(self) -> None:
        log = self._log
        self._log = None
        if log is not None:
            with suppress(TransientError, StorageError):
                log.close()


def paced(at_once: int, took_s: float) -> int:
    """How many places are folded in the next step, where so many took so long, or fewer did."""
    if took_s > STEP_S:
        return max(AT_ONCE_MIN, at_once // 2)
    return min(AT_ONCE_MAX, at_once * 2) if took_s < STEP_S / 4 else at_once
