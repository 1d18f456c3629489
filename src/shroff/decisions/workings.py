"""The work of an opened project on live input: where it comes from, and the worker that takes it in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from shroff import config
from shroff.decisions.deliveries import Deliveries
from shroff.decisions.progress import unheard
from shroff.errors import Problem, UsageError
from shroff.events.systems import SOURCES, System, load_systems
from shroff.language import yamltext
from shroff.streams.snapshots import KEPT, Snapshots

if TYPE_CHECKING:
    from threading import Event

    from shroff.decisions.definitions import Definitions
    from shroff.decisions.inbox import Inbox
    from shroff.decisions.working import Worker
    from shroff.decisions.working_counts import Work
    from shroff.decisions.working_delivery import Tended
    from shroff.decisions.working_options import Options
    from shroff.decisions.writer import Writer
    from shroff.events.intake import Intake
    from shroff.streams.log import Log
    from shroff.streams.source import Source

NO_SOURCE: Final = (
    "this project has no live source. Name one with 'shroff run --from kafka://localhost:9092/payments', or write it "
    "into shroff.yaml as 'source:'; for a file there is 'shroff run --from payments.csv --as payment'."
)


class Workings(Deliveries):
    """The calls of a project that work on live input."""

    __slots__ = ()

    places: config.Places
    now_ms: Callable[[], int]

    @abstractmethod
    def reload(self) -> None:
        """Read the project's files again when they are next needed."""

    @abstractmethod
    def checked(self) -> Definitions:
        """The definitions, rule tests run. Raises: DefinitionError."""

    @abstractmethod
    def prepare_state(self) -> None:
        """Make what a log and hashed values need, where it is not there."""

    @abstractmethod
    def open_log(self, *, read_only: bool) -> Log:
        """The log, to be closed by the caller. Raises: LogBusyError where another process writes."""

    @abstractmethod
    def intake(self, *, keeps_hashes: bool) -> Intake:
        """The door for files and lines."""

    @abstractmethod
    def inbox(self, writer: Writer, log: Log) -> Inbox:
        """What other processes ask of this one, which writes the log."""

    @abstractmethod
    def open_source(self, system: System) -> Source:
        """A live source. Raises: UsageError where its settings cannot be."""

    @abstractmethod
    def open_files(self, paths: Sequence[Path], type: str | None, format: str | None) -> Source:
        """Files as a source. Raises: UsageError where one cannot be read."""

    @contextmanager
    def worker(
        self,
        sources: Sequence[str | Path] = (),
        *,
        as_type: str | None = None,
        format: str | None = None,
        until_idle_s: float | None = None,
        limit: int | None = None,
        stands_by: bool = False,
        stop: Event | None = None,
        tell: Callable[[str], None] = unheard,
    ) -> Iterator[Worker]:
        """A worker that takes live input into the log; `run` of it does the work, and its `work` says how that goes.

        Args:
            sources: An address of a live source, or files, which are read to their end and no further; by default the
                source of shroff.yaml.
            as_type: The event type of every line of files; without it lines name their own.
            until_idle_s: It ends when nothing has come for so long.
            limit: It ends when so many messages are done.
            stands_by: It waits while another process leads the log, folds along, and takes over when that one is gone.
            stop: Ends it, from any thread: what was polled is committed first.
            tell: Told what is waited for, and what else somebody should know.

        Raises: UsageError where there is no such source.
        """
        from shroff.decisions.working import Worker

        self.checked()  # a project with mistakes does not ask anybody outside
        files, system = self._named(sources)
        is_live = system is not None
        opened = self.open_files(files, as_type, format) if system is None else self.open_source(system)
        with closing(opened) as source:
            self.routes()  # what is wrong with a sink is told before anything is taken
            self.prepare_state()
            options = replace(
                self._options(until_idle_s if is_live or until_idle_s is not None else 0.0, limit),
                keeps_late=system is not None and system.text("late") == "keep",
            )
            yield Worker(
                _Workplace(self, self._snapshots()),
                source,
                options,
                is_live=is_live,
                stands_by=stands_by,
                stop=stop,
                tell=tell,
            )

    def run(
        self,
        sources: Sequence[str | Path] = (),
        *,
        as_type: str | None = None,
        until_idle_s: float | None = None,
        limit: int | None = None,
    ) -> Work:
        """Take live input into the log, as `worker`, until it ends by itself; gives what was done."""
        with self.worker(sources, as_type=as_type, until_idle_s=until_idle_s, limit=limit) as worker:
            return worker.run()

    def _named(self, sources: Sequence[str | Path]) -> tuple[list[Path], System | None]:
        """The files that are named, or else the live source."""
        if not sources:
            if self.systems.source is None:
                raise UsageError(NO_SOURCE)
            return [], self.systems.source
        live = [one for one in sources if isinstance(one, str) and "://" in one]
        if not live:
            return [Path(one) for one in sources], None
        if len(sources) > 1:
            raise UsageError("a worker reads one live source, or files. Start another project for another source.")
        return [], _at_address(live[0])

    def _options(self, until_idle_s: float | None, limit: int | None) -> Options:
        from shroff.decisions.working_options import Options

        saved = self.systems.snapshots
        return Options(
            until_idle_s=until_idle_s,
            limit=limit,
            snapshot_s=saved.duration_ms("every", "10m") / 1_000,
            snapshot_places=int(saved.text("events", "1000000")),
        )

    def _snapshots(self) -> Snapshots:
        kept = int(self.systems.snapshots.text("kept", str(KEPT)))
        return Snapshots(self.places.snapshots, kept=kept)


@dataclass(frozen=True, slots=True)
class _Workplace:
    """An opened project as a worker sees it (see `decisions.working.Workplace`)."""

    project: Workings
    snapshots: Snapshots

    def open_log(self, *, read_only: bool) -> Log:
        return self.project.open_log(read_only=read_only)

    def definitions(self) -> Definitions:
        self.project.reload()
        return self.project.checked()

    def intake(self) -> Intake:
        return self.project.intake(keeps_hashes=False)

    def inbox(self, writer: Writer, log: Log) -> Inbox:
        return self.project.inbox(writer, log)

    def delivering(self, log: Log) -> AbstractContextManager[Tended]:
        return self.project.delivering(log) if self.project.routes() else nullcontext(_Nowhere())

    def now_ms(self) -> int:
        return self.project.now_ms()


class _Nowhere:
    """Delivery to no sink."""

    def tend(self) -> None:
        """Do nothing."""


def _at_address(url: str) -> System:
    """The live source at an address, as shroff.yaml would have it. Raises: UsageError."""
    if urlsplit(url).scheme not in SOURCES:
        forms = "kafka://HOST:PORT/TOPIC or redis://HOST:PORT/DATABASE/STREAM"
        raise UsageError(f"--from: the address of a live source is {forms}.")
    problems: list[Problem] = []
    top = yamltext.read(f"source: {msgspec.json.encode(url).decode()}\n", "--from", problems)
    assert isinstance(top, yamltext.Mapping)
    found = load_systems(top, problems, []).source
    if problems or found is None:
        raise UsageError("; ".join(f"--from: {one.message} {one.hint}".strip() for one in problems))
    return found
