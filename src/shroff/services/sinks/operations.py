"""Operations on outgoing deliveries: progress and errors of each sink, stuck rows, online features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec
from msgspec import UNSET, UnsetType

from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, ProgressSteps, group, operation
from shroff.runtime.texts import TextTable, cut, many, one_line
from shroff.services.health.checks import HealthChecks
from shroff.services.sinks.delivery import Sinks
from shroff.services.sinks.routes import OnlineFeatures

if TYPE_CHECKING:
    from shroff.streams.log import StuckKey, StuckRow
    from shroff.streams.sink_cursor import DeliveryHealth, Trouble
    from shroff.worker.outbox import SinkState

SHOWN_MAX = 50  # rows that a list shows to people; --json has all
REASON_MAX = 140  # characters of a reason in a list; 'show' and --json have all of it
STUCK = 1  # exit status: done, and some of it is stuck
AWAY = 3  # exit status: a sink cannot be reached
OfSink = Annotated[str, Param("Only rows that are stuck at this sink.", metavar="NAME")]
Rows = Annotated[tuple[str, ...], Param("Rows, as in 'outbox list'.", metavar="[ROW...]", is_argument=True)]

group(
    "outbox",
    """Show outgoing deliveries: how far each sink is, its errors and its stuck rows; retry or drop rows.

    Examples:
        shroff outbox list
        shroff outbox deliver
    """,
)

group(
    "online",
    """Online features: write them into their store again.

    Examples:
        shroff online write
    """,
)


class SinkTrouble(msgspec.Struct):
    """Why nothing gets through to a sink, and since when."""

    words: str
    since: TimeText


class SinkShown(msgspec.Struct):
    """The state of a sink, the notices or the lake; `through` is null if nothing was delivered yet."""

    name: str
    kind: str
    take: str
    through: int | None
    lag: int
    stuck: int
    trouble: SinkTrouble | None


class StuckRowShown(OperationAnswer):
    """A row that a sink refused; a list leaves `body` out."""

    row: str
    sink: str
    kind: str
    event: str
    seq: int
    reason: str
    attempts: int
    at: TimeText
    is_due: bool
    body: str | UnsetType = UNSET

    def text(self) -> str:
        times = f"{many(self.attempts, 'attempt')}, the last at {self.at}: {self.reason}"
        return "\n".join(map(one_line, (f"{self.row}: the {self.kind} of {self.event}", times, self.body)))

    def hints(self) -> Sequence[str]:
        return f"shroff outbox retry {self.row}", f"shroff outbox drop {self.row}"


def state_shown(state: SinkState) -> SinkShown:
    return SinkShown(
        name=state.name,
        kind=state.kind,
        take=state.take,
        through=state.through,
        lag=state.lag,
        stuck=state.stuck,
        trouble=_trouble(state.trouble),
    )


def _trouble(trouble: Trouble | None) -> SinkTrouble | None:
    return None if trouble is None else SinkTrouble(words=trouble.words, since=time_text(trouble.since_ms))


def _row(row: StuckRow, body: str | UnsetType = UNSET) -> StuckRowShown:
    from shroff.worker.outbox import key_text

    return StuckRowShown(
        row=key_text(row.key),
        sink=row.sink,
        kind=row.kind,
        event=f"{row.event}/{row.id}",
        seq=row.seq,
        reason=row.reason,
        attempts=row.attempts,
        at=time_text(row.at_ms),
        is_due=row.is_due,
        body=body,
    )


# ---- looking


class ListDeliveries(OperationRequest["OutgoingDeliveries"]):
    sink: OfSink = ""


SINKS: Final = TextTable({"sink": "name", "kind": "kind", "takes": "take", "behind": "lag", "stuck": "stuck"})
STUCK_ROWS: Final = TextTable(
    {"row": "row", "event": "event", "attempts": "attempts", "reason": lambda row: cut(row.reason, REASON_MAX)}
)


class OutgoingDeliveries(OperationAnswer):
    """All outgoing deliveries, and the rows that their sinks refused."""

    sinks: list[SinkShown]
    count: int
    stuck: list[StuckRowShown]

    def text(self) -> str:
        lines = [SINKS.text(self.sinks) or "This project has no sinks, no notices and no lake."]
        lines += [
            one_line(f"{sink.name} has been failing since {sink.trouble.since}: {sink.trouble.words}")
            for sink in self.sinks
            if sink.trouble is not None
        ]
        lines += [STUCK_ROWS.text(self.stuck[:SHOWN_MAX])] if self.stuck else []
        more = self.count - SHOWN_MAX
        return "\n".join([*lines, *([f"  … and {more:,} more; --json has them all."] if more > 0 else [])])

    def hints(self) -> Sequence[str]:
        hints = []
        if any(sink.stuck and sink.name == "notices" for sink in self.sinks):
            hints.append("shroff notices letters --state refused,partly")
        if self.stuck:
            hints += [f"shroff outbox show {self.stuck[0].row}", "shroff outbox retry"]
        elif any(sink.lag for sink in self.sinks if sink.name != "notices"):  # a service or worker sends notices
            hints.append("shroff outbox deliver")
        return hints


@operation("outbox list", right="mend:input")
def list_deliveries(health: HealthChecks, sinks: Sinks, request: ListDeliveries) -> OutgoingDeliveries:
    """List all outgoing deliveries: sinks, notices and the lake, each with its backlog and what it refused.

    The backlog of a sink or the lake is a number of log positions; that of notices is a number of messages.

    Examples:
        shroff outbox list
        shroff outbox list --sink decided
    """
    states = [state_shown(state) for state in health.leaving().states if request.sink in {"", state.name}]
    rows = [_row(row) for row in sinks.stuck(request.sink)]
    return OutgoingDeliveries(sinks=states, count=len(rows), stuck=rows)


class ShowStuckRow(OperationRequest[StuckRowShown]):
    """
    Args:
        row: The row, as in 'outbox list'.
    """

    row: str


@operation("outbox show", right="mend:input")
def show_stuck_row(sinks: Sinks, request: ShowStuckRow) -> StuckRowShown:
    """Show one stuck row with its full content.

    Examples:
        shroff outbox show decided/4211-0
    """
    from shroff.worker.outbox import key_of

    key = key_of(request.row)
    for row in sinks.stuck(key[0]):
        if row.key == key:
            return _row(row, row.body.decode())
    raise UsageError(f"row {request.row} is not stuck. 'shroff outbox list' shows all stuck rows.")


# ---- changing


class RetryRows(OperationRequest["RetriedRows"]):
    rows: Rows = ()
    sink: OfSink = ""


class RetriedRows(OperationAnswer):
    """The number of rows that are sent again."""

    retried: int
    NEXT: ClassVar = ("shroff outbox list", "shroff outbox deliver")

    def text(self) -> str:
        return f"{many(self.retried, 'row')} queued again."


@operation("outbox retry", right="mend:input")
def retry_rows(sinks: Sinks, request: RetryRows) -> RetriedRows:
    """Retry stuck rows, all of them if none is named: they are sent with the next delivery.

    A running worker delivers them at once; without one, use 'shroff outbox deliver'.

    Examples:
        shroff outbox retry
        shroff outbox retry decided/4211-0
        shroff outbox retry --sink decided
    """
    return RetriedRows(retried=sinks.retry(_chosen(request.rows, request.sink), request.sink))


class DropRows(OperationRequest["DroppedRows"]):
    """
    Args:
        is_all: Drop every stuck row.
    """

    rows: Rows = ()
    sink: OfSink = ""
    is_all: Annotated[bool, Param(flags="--all")] = False


class DroppedRows(OperationAnswer):
    """The number of dropped rows."""

    dropped: int
    NEXT: ClassVar = ("shroff outbox list",)

    def text(self) -> str:
        return f"{many(self.dropped, 'row')} dropped."


@operation("outbox drop", right="mend:input")
def drop_rows(sinks: Sinks, request: DropRows) -> DroppedRows:
    """Drop stuck rows for good. Their content stays in the log.

    Examples:
        shroff outbox drop decided/4211-0
        shroff outbox drop --all
    """
    if bool(request.rows) + bool(request.sink) + request.is_all != 1:
        raise UsageError("name the rows to drop, or --sink NAME for all of one sink, or --all for every row.")
    return DroppedRows(dropped=sinks.drop(_chosen(request.rows, request.sink), request.sink))


def _chosen(rows: Sequence[str], sink: str) -> list[StuckKey]:
    from shroff.worker.outbox import key_of

    if rows and sink:
        raise UsageError("name rows, or a sink with --sink, not both.")
    return [key_of(row) for row in rows]


# ---- delivering


class Deliver(OperationRequest["Delivered"]):
    pass


class SinkDelivered(msgspec.Struct):
    """What one sink got, and what it lacks."""

    name: str
    sent: int
    through: int | None
    lag: int
    trouble: SinkTrouble | None


class Delivered(OperationAnswer):
    """What each sink got, and the number of rows that became stuck."""

    sinks: list[SinkDelivered]
    stuck: int

    def text(self) -> str:
        lines = []
        for sink in self.sinks:
            line = f"{sink.name}: {many(sink.sent, 'row')} delivered"
            if sink.trouble is not None:
                line += f"; {many(sink.lag, 'record')} left, because the sink fails: {sink.trouble.words}"
            lines.append(one_line(line))
        return "\n".join([*lines, *([f"{many(self.stuck, 'row')} stuck."] if self.stuck else [])])

    def hints(self) -> Sequence[str]:
        return ["shroff outbox list" if self.exit_status() else "shroff export decisions"]

    def exit_status(self) -> int:
        if any(sink.trouble for sink in self.sinks):
            return AWAY
        return STUCK if self.stuck else 0


@operation("outbox deliver", right="mend:input")
def deliver(sinks: Sinks, progress: ProgressSteps, request: Deliver) -> Delivered:
    """Deliver all pending and retried rows once, if no worker does.

    Exit status 3: a sink failed three times and is left for the next run. Exit status 1: a sink refused rows, which
    are now stuck.

    Examples:
        shroff outbox deliver
    """
    before = {row.key: row.attempts for row in sinks.stuck()}
    count, sent = progress.counting("delivering, rows"), 0

    def on_progress(states: list[DeliveryHealth]) -> None:
        nonlocal sent
        now = sum(state.sent for state in states)
        count(now - sent)
        sent = now

    done = [
        SinkDelivered(
            name=state.name, sent=state.sent, through=state.through, lag=state.lag, trouble=_trouble(state.trouble)
        )
        for state in sinks.deliver(on_progress)
    ]
    return Delivered(sinks=done, stuck=sum(row.attempts != before.get(row.key) for row in sinks.stuck()))


# ---- online features


class WriteOnlineFeatures(OperationRequest["OnlineFeaturesWritten"]):
    pass


class OnlineFeaturesWritten(OperationAnswer):
    """The sequence number up to which features were written."""

    through: int
    NEXT: ClassVar = ("shroff doctor",)

    def text(self) -> str:
        return f"The features of all keys were written, up to sequence number {self.through:,}."


@operation("online write", right="mend:input")
def write_online_features(online: OnlineFeatures, request: WriteOnlineFeatures) -> OnlineFeaturesWritten:
    """Write the features of all keys into the online store again, from the whole log.

    A running service or worker writes them again by itself when the store lost its content. Use this command if none
    runs, or if the store removed some keys, such as by eviction. A worker can run meanwhile.

    Examples:
        shroff online write
    """
    return OnlineFeaturesWritten(through=online.write())
