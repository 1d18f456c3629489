"""State and counts of a worker: its work so far, its speed, and what it waits for."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from shroff.streams.delivering import DeliveryHealth
from shroff.streams.source import Health
from shroff.worker.ingest import IngestReport

STEPS: Final = 16  # buckets for each doubling: a quantile is at most 4.5 % above the true one
SHORTEST_S: Final = 0.000_01
LAST: Final = 30 * STEPS  # ten microseconds doubled thirty times are three hours

RESTORING: Final = "restoring"
LEADING: Final = "leading"
STANDING_BY: Final = "standing by"


class Latencies:
    """How long messages took, from their arrival here to their commit, counted in buckets.

    >>> found = Latencies()
    >>> found.add(0.004, 98); found.add(0.1, 2)
    >>> round(found.quantile_ms(0.5)), round(found.quantile_ms(0.99))
    (4, 102)
    """

    def __init__(self, counts: Sequence[int] = ()) -> None:
        self.counts = list(counts) or [0] * (LAST + 1)  # by buckets

    def add(self, seconds: float, count: int) -> None:
        """Count messages that took so long."""
        bucket = math.ceil(STEPS * math.log2(max(seconds, SHORTEST_S) / SHORTEST_S))
        self.counts[min(bucket, LAST)] += count

    def quantile_ms(self, share: float) -> float | None:
        """Within so many milliseconds were this share of them; None where there were none."""
        counts = list(self.counts)
        wanted, seen = share * sum(counts), 0
        for bucket, count in enumerate(counts):
            seen += count
            if count and seen >= wanted:
                return float(1_000 * SHORTEST_S * 2 ** (bucket / STEPS))
        return None

    def copy(self) -> Latencies:
        """The same, as it is now; from any thread."""
        return Latencies(self.counts)

    def since(self, earlier: Latencies) -> Latencies:
        """Those that are not among earlier ones."""
        return Latencies([now - then for now, then in zip(self.copy().counts, earlier.counts, strict=True)])


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker goes on, and when it ends by itself.

    Args:
        until_idle_s: It ends when nothing has come for so long; None for never.
        limit: It ends when so many messages are done.
        keeps_late: What comes too late is kept beside the log, and not refused; or of which of several sources.
        source_name: Of what it reads, in the event counts; that of its kind where it is empty.
        stands_by: It waits while another process leads the log, and folds along; else that is an error.
        snapshot_s: State is saved after so long, or after so many places of the log (`snapshot_places`).
    """

    batch_size: int = 4_096
    until_idle_s: float | None = None
    limit: int | None = None
    keeps_late: bool | Collection[str] = False
    source_name: str = ""
    stands_by: bool = False
    snapshot_s: float = 600.0
    snapshot_places: int = 1_000_000


@dataclass(slots=True)
class WorkerCounts:
    """Work of a worker so far; read it from any thread.

    Args:
        offsets: How far each part is read and durable.
        has_begun: Whether the log was had once, or is waited for: nothing refuses this worker at its start any more.
        waits_for: What is away and tried again, in words; empty where nothing is.
        unbearable: Messages that the program itself failed at, all of them in quarantine.
        restored: How often state was thrown away and restored.
        read_back: So many events of the log were read to restore it.
        batches: Commits of a service.
        seq: The last place of the log that a service knows of.
        done_s: When the last batch was committed, by the clock that never goes back; None before the first.
        sinks: How delivery is doing; those that take nothing have their trouble.
    """

    counts: IngestReport = field(default_factory=IngestReport)
    latencies: Latencies = field(default_factory=Latencies)
    offsets: dict[str, str] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    state: str = RESTORING
    has_begun: bool = False
    waits_for: str = ""
    unbearable: int = 0
    restored: int = 0
    read_back: int = 0
    snapshots: int = 0
    batches: int = 0
    seq: int = 0
    done_s: float | None = None
    sinks: Sequence[DeliveryHealth] = ()

    @property
    def taken(self) -> int:
        """Lines of the source that are done: decided, taken, or in quarantine."""
        counts = self.counts
        return counts.events.read + counts.labels.read + counts.untaken

    @property
    def quarantined(self) -> int:
        return self.counts.events.quarantined + self.counts.labels.quarantined
