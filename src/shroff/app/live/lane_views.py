"""The lanes of an opened project: each is the project with a log of its own, and all are told the same."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from shroff.app.wiring import OutsideSystems
from shroff.errors import DefinitionError, Problem, ShroffError, TransientError, UsageError, ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from shroff.app.opened import Opened
    from shroff.log.ruletests import CheckReport
    from shroff.project.definitions import Definitions
    from shroff.project.settings.system import System
    from shroff.streams.controls import Controls, Message
    from shroff.streams.log import Log
    from shroff.worker.lanes.lanes import Home
    from shroff.worker.lanes.work import Lane

TAKEN_WITHIN_S: Final = 20.0  # lanes that have a worker take up what they are told
LOOK_S: Final = 0.1
NO_LANES: Final = "this project has one lane. Declare several in shroff.yaml, under 'source: kafka: lanes'."
ONLY_ALL: Final = "all lanes have the same active version: leave --lane out."


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane is: its last place, its versions, and whether they are those of the project's files."""

    number: int
    place: str
    last_seq: int = 0
    versions: Mapping[str, str] | None = None
    is_current: bool = False
    trouble: str = ""


class Lanes:
    """Lanes of a project."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @property
    def count(self) -> int:
        """How many lanes there are; 1 where the project does not say."""
        from shroff.worker.lanes.lanes import lanes_of

        return 1 if self._opened.places.is_elsewhere else lanes_of(self._opened.systems)

    @property
    def is_parted(self) -> bool:
        """Whether this project has several lanes, and this is none of them."""
        return self._opened.places.lane is None and self.count > 1

    @property
    def parted_source(self) -> System:
        """The live source of a project with lanes."""
        assert self._opened.systems.source is not None, "a project with lanes has a source"
        return self._opened.systems.source

    def one(self, number: int) -> Opened:
        """Get one lane of the project: the same files with its own log. Raises: UsageError if there is none."""
        from shroff.worker.lanes.lanes import LanePaths

        if self.count == 1:
            raise UsageError(NO_LANES)
        if not 0 <= number < self.count:
            raise UsageError(f"there are {self.count} lanes, 0 to {self.count - 1}, and no lane {number}.")
        return self._opened.at(LanePaths(self._opened.places.folder, number))

    def each(self) -> list[Opened]:
        """List the lanes; without lanes, the project itself."""
        return [self.one(number) for number in range(self.count)] if self.is_parted else [self._opened]

    def refuse(self, what: str) -> None:
        """Raises: UsageError where the project has several lanes, which take nothing but what their topics have."""
        if self.count > 1:
            raise UsageError(f"a project with several lanes accepts events from its topics only: {what}.")

    def name_one(self) -> UsageError:
        """Get the error for a call that needs a single log."""
        return UsageError(
            f"this project has {self.count} lanes, each with a log of its own: name one with --lane 0 to --lane "
            f"{self.count - 1}."
        )

    def of(self, reference: str) -> Opened:
        """Get the lane of an event, `payment/p-1` or `p-1`. Raises: UsageError as `finding.find`."""
        from shroff.log.history import find

        failure: UsageError | None = None
        for one in self.each():
            if one.has_log():
                try:
                    with one.reading() as log:
                        find(log, self._opened.definitions.events, reference)
                except UsageError as error:
                    failure = error
                else:
                    return one
        raise failure or UsageError(f"no lane has a log yet, so there is no {reference!r}.")

    # ---- what all lanes are told

    def tell(self, within_s: float = TAKEN_WITHIN_S) -> list[LaneState]:
        """Make the project's files active in all lanes, in one transaction; gives the state of the lanes.

        A lane activates them when its worker reads them; this call waits for a while.
        Raises: DefinitionError if they cannot be active in a lane; UsageError, TransientError where nothing was
            sent; StateError where a model is not here.
        """
        from shroff.worker.lanes.work import told

        if not self.is_parted:
            raise UsageError(NO_LANES if self.count == 1 else ONLY_ALL)
        errors = self._opened.check().errors
        if errors:
            raise DefinitionError(errors)
        self._opened.definitions.require_models()
        OutsideSystems(self._opened).open_post().publish(told(self._opened.definitions), self.count)
        until_s = time.monotonic() + within_s
        while True:
            states = self.states()
            if all(state.is_current for state in states) or time.monotonic() > until_s:
                return states
            time.sleep(LOOK_S)

    def states(self) -> list[LaneState]:
        """Get the state of each lane."""
        if not self.is_parted:
            raise UsageError(NO_LANES if self.count == 1 else ONLY_ALL)
        wanted = asdict(self._opened.definitions.versions)
        return [_state(number, one, wanted) for number, one in enumerate(self.each())]

    # ---- what concerns the log of each lane, or the one that there is

    def has_hashed(self) -> bool:
        """Check whether a log has hashed values."""
        from shroff.log.history import has_hashed

        return any(has_hashed(log) for log in self._logs())

    def check_change(self, report: CheckReport) -> CheckReport:
        """Check the project's files, and compare them with the log (see `activation`).

        A log that cannot be read is a warning, also where a variable of its address is not set.
        """
        from shroff.log.writer import check_change

        if report.definitions is None or report.errors:
            return report
        try:
            for log in self._logs():
                check_change(log, report.definitions)
        except DefinitionError as error:
            return replace(report, errors=error.problems)
        except ShroffError as error:
            words = f"these files were not checked: {ended(str(error))}"
            unread = Problem(self._log_name(), 0, 0, "", words)
            return replace(report, warnings=(*report.warnings, unread))
        return report

    def _log_name(self) -> str:
        """The log, as a place where something is wrong."""
        is_file = self._opened.systems.store is None or self._opened.places.is_elsewhere
        return self._opened.places.log.relative_to(self._opened.places.folder).as_posix() if is_file else "the log"

    def _logs(self) -> Iterator[Log]:
        for one in self.each():
            if one.has_log():
                with closing(one.open_log(read_only=True)) as log:
                    yield log

    # ---- a lane's own version

    def load_files(self, files: Mapping[str, str]) -> Definitions:
        """Load the definitions that a lane will switch to. Raises: DefinitionError."""
        from shroff.project.definitions import load_definitions
        from shroff.worker.lanes.lanes import lane_problems

        found = load_definitions(files, self._opened.hasher, self._opened.registry.load).or_raise()
        problems = lane_problems(found, self._opened.systems)
        if problems:
            raise DefinitionError(problems)
        return found

    def files(self) -> Mapping[str, str] | None:
        """Get the files of this lane's active version, or of its first one; None if it has neither."""
        if self._opened.places.lane is None or self._opened.places.is_elsewhere:
            return None
        from shroff.log.history import control_at
        from shroff.worker.lanes.work import CONTROLS

        told = self._opened.told
        if not self._opened.has_log():
            return told[0] if told is not None else None
        with closing(self._opened.open_log(read_only=True)) as log:
            control = control_at(log)
            reached = max((int(offset) for offset in log.offsets(CONTROLS).values() if offset), default=0)
        if told is not None and told[1] > reached:
            return told[0]
        return control.files or None

    def waiting(self, tell: Callable[[str], None]) -> tuple[Mapping[str, str], int] | None:
        """Get the version that waits for this lane, with its offset; None if there is none or it is invalid."""
        from shroff.log.writer import check_change
        from shroff.worker.lanes.work import CONTROLS, files_of

        assert self._opened.places.lane is not None
        reached = ""
        if self._opened.has_log():
            with closing(self._opened.open_log(read_only=True)) as log:
                reached = next(iter(log.offsets(CONTROLS).values()), "")
        try:
            with closing(OutsideSystems(self._opened).open_controls(self._opened.places.lane)) as controls:
                controls.start(reached)
                message = controls.newest(within_s=TAKEN_WITHIN_S)
        except TransientError as error:
            tell(f"cannot see yet whether a new version waits for this lane: {error}")
            return None
        if message is None:
            return None
        try:
            files = files_of(message)
            definitions = self.load_files(files)
            definitions.require_models()
            for log in self._logs():
                check_change(log, definitions)
        except ShroffError as error:
            tell(f"a new version waits for this lane, but cannot become active: {error}")
            return None
        return files, int(message.offset) + 1

    def work(self, controls: Controls, tell: Callable[[str], None]) -> Lane:
        """Get the data that a worker of this lane needs."""
        from shroff.worker.lanes.lanes import Home
        from shroff.worker.lanes.work import Lane, files_of

        assert self._opened.places.lane is not None, "only a lane has the work of one"
        key = self.parted_source.text("key")

        def load(message: Message) -> Definitions:
            return self.load_files(files_of(message))

        def home(definitions: Definitions) -> Home:
            return Home(definitions.events, key, self._opened.hasher)

        return Lane(self._opened.places.lane, self.count, key, controls, load, home, self._opened.now_ms, tell)


def _state(number: int, lane: Opened, wanted: Mapping[str, str]) -> LaneState:
    from shroff.log.history import control_at

    name = f"lane {number}"
    if not lane.has_log():
        return LaneState(number, name, trouble="it has no log yet: its worker was never started")
    with suppress(ShroffError), lane.reading() as log:
        control = control_at(log)
        return LaneState(number, log.place, log.last_seq(), dict(control.versions), control.versions == wanted)
    return LaneState(number, name, trouble="its log cannot be read now")


def behind(states: Sequence[LaneState]) -> str:
    """Which lanes do not have the project's files in force, in words; nothing where all have."""
    late = [state for state in states if not state.is_current]
    if not late:
        return ""
    names = " and ".join(f"lane {one.number}" for one in late)
    return f"it is sent to all lanes, but {names} have not applied it yet; their workers will"
