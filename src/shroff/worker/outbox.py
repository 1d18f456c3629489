"""State of sinks, and requests about them to the active writer.

The store holds each sink's position, stuck rows and failures, and only the active writer changes them. Another
process that delivers, or a user who retries a row, therefore sends a request through the inbox.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import UsageError
from shroff.project.settings.system import System
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Batch, Log, StuckKey, StuckRow
from shroff.streams.sink_cursor import (
    DeliveryHealth,
    DeliveryProgress,
    Trouble,
    first_offsets,
    source_of,
    through_of,
    trouble_of,
)
from shroff.streams.sink_threads import batch_of

OUTBOX = "outbox"  # the kind of the request
KEYS_MAX = 1_000  # in one request
LAKE = "lake"  # name of the lake among deliveries
ONLINE = "online features"  # likewise; no sink of a project has a space in its name
OF_NOTICE = "notice "  # prefix of the name of a notice on decisions among deliveries


class _OutboxRequest(msgspec.Struct, omit_defaults=True):
    """Content of a request: sinks that begin, delivery results, rows to retry, rows to drop."""

    begin: dict[str, bool] = {}
    moved: list[DeliveryProgress] = []
    retry: list[StuckKey] = []
    drop: list[StuckKey] = []


class SinkState(FrozenStruct):
    """Position of a sink in the store; `through` is None if nothing was delivered yet.

    For notices `lag` counts pending messages, and `stuck` those that were refused or may not have been sent.
    """

    name: str
    kind: str
    take: str
    through: int | None
    lag: int
    trouble: Trouble | None
    stuck: int


class Deliveries(NamedTuple):
    """All deliveries: sinks, notices with their mails and calls, and the lake; the worst first."""

    states: Sequence[SinkState] = ()

    @property
    def waiting(self) -> int:
        """Records and messages still to be sent. The lake counts only if it fails, since it always lags a little."""
        return sum(state.lag for state in self.states if state.name != LAKE or state.trouble is not None)

    @property
    def failed(self) -> int:
        """Rows and messages that were refused, or may not have been sent."""
        return sum(state.stuck for state in self.states)

    @property
    def failing(self) -> list[SinkState]:
        return [state for state in self.states if state.trouble is not None]

    def beside(self, running: Iterable[DeliveryHealth]) -> Deliveries:
        """Return the deliveries with failures that the deliveries running in this process know of."""
        troubles = {health.name: health.trouble for health in running if health.trouble is not None}
        return leaving(replace(state, trouble=state.trouble or troubles.get(state.name)) for state in self.states)


def leaving(states: Iterable[SinkState]) -> Deliveries:
    """Sort deliveries, the worst first: those that fail, then those with stuck rows, then by lag."""
    return Deliveries(
        sorted(states, key=lambda state: (state.trouble is None, not state.stuck, -state.lag, state.name))
    )


def outbox_request(
    begin: Mapping[str, bool] = MappingProxyType({}),
    moved: Sequence[DeliveryProgress] = (),
    retry: Sequence[StuckKey] = (),
    drop: Sequence[StuckKey] = (),
) -> bytes:
    """Encode a request: sinks to start (and whether from now), results of another process, rows to retry or drop."""
    return to_json(_OutboxRequest(dict(begin), list(moved), list(retry), list(drop)))


def changes(
    log: Log, body: bytes, token: Callable[[], str] = lambda: secrets.token_hex(8)
) -> tuple[Batch, dict[str, int]]:
    """Return the batch for a request, and the number of rows that it retries and drops.

    Raises: UsageError for a key of a row that is not stuck, and if another process moved a sink meanwhile;
        msgspec.MsgspecError for an invalid request.
    """
    request = from_json(body, type=_OutboxRequest)
    for progress in request.moved:
        seq = through_of(progress.sink, log.offsets.of(source_of(progress.sink))) or 0
        if seq > progress.before:
            raise UsageError(
                f"sink {progress.sink} was at sequence number {progress.before:,} for this process and is at {seq:,} "
                "now: another process "
                "also delivers to it, so this one ends. Rows that both delivered have the same keys."
            )
    batch = batch_of(log, request.moved)
    batch.offsets += first_offsets(log, request.begin, token)
    retried = _rows(log, request.retry)
    batch.stuck += [replace(row, is_due=True) for row in retried]
    batch.unstuck += [row.key for row in _rows(log, request.drop)]
    return batch, {"retry": len(retried), "drop": len(request.drop)}


def _rows(log: Log, keys: Sequence[StuckKey]) -> list[StuckRow]:
    stuck = []
    for sink, seq, number in keys:
        rows = log.outbox.stuck(sink, after=(sink, seq, number - 1), limit=1)
        if not rows or rows[0].key != (sink, seq, number):
            raise UsageError(
                f"row {key_text((sink, seq, number))} is not stuck. 'shroff outbox list' shows all stuck rows."
            )
        stuck += rows
    return stuck


def key_text(key: StuckKey) -> str:
    return f"{key[0]}/{key[1]}-{key[2]}"


def key_of(text: str) -> StuckKey:
    """Parse such a key. Raises: UsageError if the text is none."""
    sink, _, position = text.rpartition("/")
    seq, _, number = position.partition("-")
    if not (sink and seq.isdecimal() and number.isdecimal()):
        raise UsageError(f"name a stuck row as in 'shroff outbox list', such as decided/4211-0, not {text!r}.")
    return sink, int(seq), int(number)


def all_stuck(log: Log, sink: str = "") -> Iterator[list[StuckRow]]:
    after: StuckKey = ("", 0, 0)
    while rows := log.outbox.stuck(sink, after=after, limit=KEYS_MAX):
        yield rows
        after = rows[-1].key


def sink_states(log: Log, sinks: Mapping[str, System]) -> list[SinkState]:
    last = log.last_seq()
    states = []
    for name, system in sinks.items():
        offsets = log.offsets.of(source_of(name))
        through = through_of(name, offsets)
        stuck = sum(len(rows) for rows in all_stuck(log, name))
        lag = max(last - (through or 0), 0)
        states.append(
            SinkState(name, system.kind, system.text("take", "decisions"), through, lag, trouble_of(offsets), stuck)
        )
    return states
