"""The thread of a service that opens cases as the log grows, and carries out due timers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from shroff.cases.alert_rules import RecentDecisions
from shroff.cases.timers import carry_out
from shroff.errors import ShroffError
from shroff.runtime.retries import Backoff, RetriedLoop

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

    Each service of a project may run one: each step is done only once (see `cases.alert_consumer`, `timers`). The log's
    thread adds committed decisions to `recent`.

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
        self.recent = RecentDecisions(desk.settings.outcomes)
        self._log: Log | None = None
        self._follower: AlertConsumer | None = None
        self._version_number = 0
        self._joined: Definitions | None = None
        self._loop = RetriedLoop(
            "cases",
            self._timed,
            tell,
            Backoff(AFTER_FAILURE_S),
            first_s=LOOK_S,
            message="cases wait: {}",
            close=self._release,
        )

    def begin(self) -> None:
        self._loop.start()

    def end(self) -> None:
        self._loop.stop()

    def _timed(self) -> float:
        has_more = self._steps()
        self._loop.forget()
        return GAP_S if has_more else LOOK_S

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

    def _release(self) -> None:
        log = self._log
        self._log = None
        self._follower = None
        if log is not None:
            with suppress(ShroffError, OSError):
                log.close()
