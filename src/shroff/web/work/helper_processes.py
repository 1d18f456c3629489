"""The thread of a service that opens cases as the log grows, and carries out due timers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from shroff.cases.alert_rules import RecentDecisions
from shroff.cases.timers import carry_out
from shroff.errors import ShroffError, trace_of
from shroff.runtime.logs import failure

if TYPE_CHECKING:
    from shroff.cases.alert_consumer import AlertConsumer
    from shroff.cases.case_service import CaseService
    from shroff.project.definitions import Definitions
    from shroff.services.project import Project
    from shroff.streams.log import Log

LOOK_S = 0.5  # between checks of log and clock; each one with alerts delays events by some 3 ms
GAP_S = 0.01  # between steps while the log is far ahead, so that other threads run
AFTER_FAILURE_S = 5.0


class CaseKeeper:
    """A thread that follows the log and the clock for one service.

    Each service of a project may run one, since every step is done only once (see `cases.alert_consumer`, `timers`).
    The log's thread adds committed decisions to `recent`.

    Args:
        asked: Called after labels were put into the log's inbox.
        tell: Called with the message of a failure, unless it repeats the last one.
    """

    def __init__(
        self, project: Project, desk: CaseService, asked: Callable[[], None], tell: Callable[[str], None]
    ) -> None:
        self._project = project
        self._desk = desk
        self._asked = asked
        self._tell = tell
        self._stop = Event()
        self.recent = RecentDecisions(desk.settings.outcomes)
        self._log: Log | None = None
        self._follower: AlertConsumer | None = None
        self._last_failure = ""
        self._version_number = 0
        self._joined: Definitions | None = None
        self._thread = Thread(target=self._run, name="cases", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        pause_s = LOOK_S
        while not self._stop.wait(pause_s):
            try:
                pause_s = GAP_S if self._steps() else LOOK_S
                self._last_failure = ""
            except (ShroffError, OSError) as error:
                self._failed(str(error))
                pause_s = AFTER_FAILURE_S
            except Exception as error:  # noqa: BLE001 - the thread continues after any failure
                self._failed(trace_of(error), error)
                pause_s = AFTER_FAILURE_S
        self._release()

    def _steps(self) -> bool:
        """Carry out due timers and take one step through the log; return whether more of the log is to be read."""
        if carry_out(self._desk):
            self._asked()
        if self._version_number != self._project.context.taken.number:
            self._release()  # the follower has the notices of an earlier version
        if self._follower is None:
            self._version_number = self._project.context.taken.number
            if not self._project.log.exists():
                return False
            self._log = self._project.log.open(read_only=True)
            self._follower = self._project.cases.follower(self._desk, self._log, self.recent)
        if self._follower.step():
            return True
        definitions = self._project.definitions
        if self._joined is not definitions and self._project.cases.join_rings(self._desk) is not None:
            self._joined = definitions
        return False

    def _failed(self, reason: str, unexpected: Exception | None = None) -> None:
        self._release()
        if reason != self._last_failure:
            self._last_failure = reason
            self._tell(f"cases wait: {reason}" if unexpected is None else failure("cases wait", unexpected))

    def _release(self) -> None:
        log = self._log
        self._log = None
        self._follower = None
        if log is not None:
            with suppress(ShroffError, OSError):
                log.close()
