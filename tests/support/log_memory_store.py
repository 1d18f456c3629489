"""What a log in memory holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from shroff.streams.log import (
    DecisionRow,
    FlagRow,
    HitRow,
    InboxRequest,
    Indexed,
    LateEvent,
    OutboxRow,
    Record,
    Refused,
    Remark,
    StuckKey,
    StuckRow,
    WaitingLabel,
)


@dataclass(slots=True)
class MemoryStore:
    """What a log in memory holds; several `MemoryLog`s over one store stand for several openings of one file."""

    records: list[Record] = field(default_factory=list)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    unique: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    indexed: dict[tuple[str, str], Indexed] = field(default_factory=dict)
    watermark_ms: int | None = None
    decisions: dict[int, DecisionRow] = field(default_factory=dict)
    flags: list[FlagRow] = field(default_factory=list)
    hits: list[HitRow] = field(default_factory=list)
    batches: list[tuple[int, int | None]] = field(default_factory=list)  # first place and ingest time
    refused: dict[tuple[str, str, bytes], tuple[int, Refused]] = field(default_factory=dict)
    refused_count: int = 0  # ever, so that a number never means another entry later
    waiting: dict[str, WaitingLabel] = field(default_factory=dict)
    outbox: dict[str, OutboxRow] = field(default_factory=dict)
    offsets: dict[tuple[str, str], str] = field(default_factory=dict)
    remarks: dict[tuple[str, str], Remark] = field(default_factory=dict)
    inbox: dict[int, InboxRequest] = field(default_factory=dict)
    inbox_count: int = 0  # ever
    replies: dict[int, bytes] = field(default_factory=dict)
    stuck: dict[StuckKey, StuckRow] = field(default_factory=dict)
    personal: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    late: dict[tuple[str, str], LateEvent] = field(default_factory=dict)
    keys: dict[int, set[int]] = field(default_factory=dict)
    pruned: int = 0  # `records` begins behind this place
    pruned_ids: dict[bytes, int] = field(default_factory=dict)
    earlier_controls: list[Record] = field(default_factory=list)  # of pruned places
    bytes: int = 0
    epoch: int = 0
    is_written: bool = False
    lock: Lock = field(default_factory=Lock)
