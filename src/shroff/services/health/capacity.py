"""Capacity estimate: the machine that a project's events need, measured by deciding a sample of them."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from shroff.errors import UsageError
from shroff.language.values import DAY_MS, named_duration
from shroff.operations.declaration import AsEvent, OperationAnswer, OperationRequest, Param, operation
from shroff.runtime.texts import bytes_text, many, table
from shroff.runtime.values import FrozenStruct, frozen
from shroff.services.parts import ProjectParts
from shroff.services.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shroff.services.arrow_tables import Files
    from shroff.services.context import ProjectContext

SAMPLE = 20_000  # events
LEAST = 1_000  # events; fewer give no estimate: a SQLite file grows by pages, a state by blocks
BUSY = 0.6  # highest utilization of a process: beyond it events queue up
PROCESS_BYTES = 400 << 20  # of a process without state (bench/results/ingest.md)
CORES = 2  # per process: one decides, the other reads, writes and answers
SNAPSHOTS = 3  # two are kept, and a third is being written
CELL_ROOM = 1.25  # of the cells of a key: at most a third of its room is unused
SPARE = 1.25  # of disk and memory, for write-ahead log, indexes and the system


class MeasuredEvents(FrozenStruct):
    """What a sample of events took on this machine.

    Attributes:
        rate: Events decided per second by one process, durable.
        log_bytes: Bytes on disk for each event, its decision and its flags.
        event_bytes: Bytes of window state for a further event of a key.
        key_bytes: Bytes of window state for a key without events, with its text and spare room.
        keys: Keys of all entities.
        reach_days: The longest window, in days; None where one has no end.
    """

    events: int
    rate: float
    log_bytes: float
    event_bytes: float
    key_bytes: float
    keys: int
    reach_days: float | None


@frozen
class EventRate:
    """Events per day, events per second at the peak, days that events stay in the log, and keys.

    `keys` are those of all entities within the longest window; None for as many an event as the sample has.

    Raises: UsageError where a number is not above 0, or the peak is below the mean.
    """

    per_day: float
    peak: float
    keep_days: float
    keys: float | None = None

    def __post_init__(self) -> None:
        if min(self.per_day, self.peak, self.keep_days, 1 if self.keys is None else self.keys) <= 0:
            raise UsageError("events per day, events per second, days and keys must be above 0.")
        if self.peak * DAY_MS / 1_000 < self.per_day:
            least = math.ceil(self.per_day / (DAY_MS / 1_000))
            raise UsageError(
                f"{self.per_day:,.0f} events a day are {least:,} a second on average; the peak is above that."
            )


class CapacityEstimate(OperationAnswer):
    """The machine for a rate of events, and what it was computed from.

    `keys` are those within the longest window: given, else as many an event as the sample has. `processes` are those
    whose cores are busy up to 60 % at the peak; above 1 it is too much for one log.
    """

    measured: MeasuredEvents
    rate: EventRate
    processes: int
    cores: int
    keys: int
    memory_bytes: int
    disk_bytes: int

    def text(self) -> str:
        measured, rate, days = self.measured, self.rate, self.measured.reach_days
        reach = "some windows have no end" if days is None else f"for the longest window, {days:,.3g} days"
        rows = [
            ("events per second", f"{measured.rate:,.0f}", "one process on this machine, durable"),
            ("disk per event", bytes_text(round(measured.log_bytes)), "event, decision, flags, indexes"),
            ("state per event", bytes_text(round(measured.event_bytes)), reach),
            ("state per key", bytes_text(round(measured.key_bytes)), f"{many(measured.keys, 'key')} in the sample"),
        ]
        guessed = "" if rate.keys is not None else ", as many an event as in the sample; --keys says how many there are"
        needs = [
            ("processes", str(self.processes), "each busy up to 60% at the peak"),
            ("cores", str(self.cores), ""),
            ("memory", bytes_text(self.memory_bytes), f"for {many(self.keys, 'key')}{guessed}"),
            ("disk", bytes_text(self.disk_bytes), f"for {rate.keep_days:,.0f} days, without lake and backups"),
        ]
        head = f"Measured with {many(measured.events, 'event')}:"
        want = f"{rate.per_day:,.0f} events a day, at most {rate.peak:,.0f} a second, need:"
        return "\n".join([head, table(rows), want, table(needs)])

    @classmethod
    def of(cls, measured: MeasuredEvents, rate: EventRate) -> CapacityEstimate:
        processes = math.ceil(rate.peak / (BUSY * measured.rate))
        held_days = rate.keep_days if measured.reach_days is None else min(measured.reach_days, rate.keep_days)
        events = rate.per_day * held_days
        keys = events * measured.keys / measured.events if rate.keys is None else rate.keys
        state = measured.event_bytes * events + measured.key_bytes * keys
        memory = (processes * PROCESS_BYTES + state) * SPARE
        disk = (measured.log_bytes * rate.per_day * rate.keep_days + SNAPSHOTS * state) * SPARE
        return cls(measured, rate, processes, CORES * processes, round(keys), math.ceil(memory), math.ceil(disk))


def measure(context: ProjectContext, files: Files = (), as_type: str | None = None) -> MeasuredEvents:
    """Decide a sample of events in a scratch log: those of files, else the newest ones of the project's log.

    Raises: UsageError for fewer than LEAST events; as `ingest`.
    """
    from shroff.log.state.fold import fold, reach_ms
    from shroff.project.definitions import computed_of
    from shroff.services.arrow_tables import paths
    from shroff.services.project_files import checked
    from shroff.services.project_log import ScratchPaths

    definitions, named = checked(context), paths(files)

    def decided(given: Sequence[Path]) -> MeasuredEvents:
        with TemporaryDirectory(prefix="shroff-") as folder:
            held = context.at(ScratchPaths(context.paths.folder, Path(folder)))
            began_s = time.perf_counter()
            report = ProjectParts(held).taking.ingest(given, as_type=as_type, order="file", is_hashed=not named)
            took_s, events = time.perf_counter() - began_s, report.events.appended
            refused = report.events.quarantined + report.untaken
            if events < LEAST:
                cure = f"{refused:,} were refused ('shroff check --with FILE' shows why). " if refused else ""
                raise UsageError(
                    f"a sample of {many(events, 'event')} says little. {cure}Name a file with {LEAST:,} or more."
                )
            reach = reach_ms([computed.node for computed in computed_of(definitions)], definitions)
            with held.log.reading() as log:
                state = fold(log, definitions).engine.online
                of_events = min(state.cell_bytes * CELL_ROOM, state.memory_bytes)
                return MeasuredEvents(
                    events,
                    events / took_s,
                    log.size_bytes() / events,
                    of_events / events,
                    (state.memory_bytes - of_events) / max(state.keys, 1),
                    state.keys,
                    None if reach is None else reach / DAY_MS,
                )

    with ExitStack() as stack:
        given = named or [stack.enter_context(_newest(context))]
        decided(given)  # warm-up: loads modules and compiles
        return decided(given)


@contextmanager
def _newest(context: ProjectContext) -> Iterator[Path]:
    """Write the newest events of the log to a file; hashed values stay hashes."""
    from shroff.replay.exports import kind_of

    line = kind_of("events").line
    with TemporaryDirectory(prefix="shroff-") as folder, context.log.reading() as log:
        file, last = Path(folder) / "newest.jsonl", log.last_seq()
        with file.open("wb") as out:
            for records in log.read(max(log.pruned_to(), last - SAMPLE), last):
                out.writelines(
                    line(record) + b"\n" for record in records if record.kind == "event" and record.type != "label"
                )
        yield file


class EstimateCapacity(OperationRequest[CapacityEstimate], kw_only=True):
    """The rate of events, and a sample of them: files, or by default the newest 20,000 of the log.

    Args:
        files ([FILE...]): A sample of events.
        per_day (N): Events per day.
        peak (N): Events per second at the busiest time.
        keys (N): Keys of all entities, such as cards, within the longest window.  [default: by the sample]
        keep (DURATION): How long events stay in the log.  [default: 'keep:', else 400d]
    """

    files: Annotated[tuple[Path, ...], Param(is_argument=True)] = ()
    per_day: Annotated[float, Param(flags="--per-day")]
    peak: Annotated[float, Param(flags="--peak")]
    keys: float | None = None
    keep: str | None = None
    as_type: Annotated[
        str | None,
        AsEvent("The event type of every line.  [default: each line names its own]", complete="event_types_and_labels"),
    ] = None


@operation("capacity", right="read:definitions")
def estimate_capacity(project: Project, request: EstimateCapacity) -> CapacityEstimate:
    """Estimate processes, cores, memory and disk for a rate of events.

    A sample is decided twice in a temporary log on this machine, with the project's features, rules and models, and
    measured: the newest 20,000 events of the log, or those of files. A file should have 20,000 events or more. The
    log is not changed.

    Examples:
        shroff capacity --per-day 2000000 --peak 200 --keep 400d
        shroff capacity payments.csv --as payment --per-day 2000000 --peak 200 --keys 3000000
    """
    keep_ms = project.context.systems.keep_ms or 400 * DAY_MS
    if request.keep is not None:
        keep_ms = named_duration("keep", request.keep, is_positive=True)
    rate = EventRate(request.per_day, request.peak, keep_ms / DAY_MS, request.keys)
    return CapacityEstimate.of(measure(project.context, request.files, request.as_type), rate)
