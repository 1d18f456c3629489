"""How a worker goes on, and when it ends by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker goes on, and when it ends by itself.

    Args:
        until_idle_s: It ends when nothing has come for so long; None for never.
        limit: It ends when so many messages are done.
        keeps_late: What comes too late is kept beside the log, and not refused.
        snapshot_s: State is saved after so long, or after so many places of the log (`snapshot_places`).
    """

    batch_size: int = 4_096
    until_idle_s: float | None = None
    limit: int | None = None
    keeps_late: bool = False
    snapshot_s: float = 600.0
    snapshot_places: int = 1_000_000
