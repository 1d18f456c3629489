"""Watermark of a project's log: show it, and set it back after an event from the future."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, operation
from shroff.people.audit import Action
from shroff.services.project import Project
from shroff.services.writer.requests import WriterRequests


class SetWatermark(OperationRequest["Watermark"]):
    """
    Args:
        to (TIME): Set the watermark back to this time, with its offset.
        because (TEXT): The reason, for the audit log.
    """

    to: Annotated[str, Param(flags="--set")] = ""
    because: str = ""

    def __post_init__(self) -> None:
        if bool(self.to) != bool(self.because.strip()):
            raise UsageError("--set TIME needs --because TEXT, and the other way round.")


class Watermark(OperationAnswer):
    """The watermark of a log as it is now: the time that late events are judged against; null without an event.

    `event` holds it beyond the clock by more than `ahead`, such as payment/p-1; `seq` is its sequence number, and
    `proposed` the newest time that is not beyond the clock, to set it back to.
    """

    watermark: TimeText | None
    clock: TimeText
    event: str | None = None
    seq: int | None = None
    proposed: TimeText | None = None
    STATUS: ClassVar = "event"

    def text(self) -> str:
        if self.watermark is None:
            return "The log has no event, and so no watermark."
        text = f"The watermark is {self.watermark}; the clock shows {self.clock}."
        if self.event is None:
            return text
        holds = f"{self.event} (sequence number {self.seq:,}) holds it beyond the clock"
        return f"{text}\n{holds}: later events are too late."

    def hints(self) -> Sequence[str]:
        if self.event is None or self.proposed is None:
            return ()
        return [f"shroff watermark --set {self.proposed} --because 'the time of {self.event} is wrong'"]


class WatermarkBack(OperationAnswer):
    """A watermark that was set back, by the control event at `seq`."""

    watermark: TimeText
    was: TimeText
    seq: int
    NEXT: ClassVar = ("shroff quarantine retry", "shroff verify")

    def text(self) -> str:
        return f"The watermark is {self.watermark} from sequence number {self.seq:,} on; it was {self.was}."


@operation("watermark", right="mend:input")
def set_watermark(project: Project, requests: WriterRequests, request: SetWatermark) -> Watermark | WatermarkBack:
    """Show the watermark, or set it back where one event with a wrong time made all later events too late.

    The watermark is the time of the newest event. Events older than it by more than 'lateness' are quarantined. If it
    lies beyond the clock, the event that holds it is named. Setting it back loses no event: a control event in the log
    says so, that event stays, and the events that were refused meanwhile can be retried. A service that runs does it
    between two batches; it computes its state again, which takes about as long as a first start.

    Examples:
        shroff watermark
        shroff watermark --set 2026-03-01T10:00:00Z --because 'payment m2 has a mistyped year'
    """
    from shroff.events.validation import latest_ms
    from shroff.log.lateness import watermark_holder

    requests.needs_log("so it has no watermark")
    if request.to:
        return _set_back(requests, request)
    # One time for both: the search reads the whole log if an event is ahead of the clock
    now_ms = project.context.now_ms()
    clock, until_ms = time_text(now_ms), latest_ms(project.definitions.settings, now_ms)
    with project.log.reading() as log:
        at_ms = log.watermark_ms()
        if at_ms is None or at_ms <= until_ms:
            return Watermark(watermark=time_text_or_none(at_ms), clock=clock)
        holder = watermark_holder(log, project.definitions, until_ms)
    if holder is None:
        return Watermark(watermark=time_text(at_ms), clock=clock)
    proposed = time_text_or_none(holder.before_ms)
    return Watermark(watermark=time_text(at_ms), clock=clock, event=holder.event, seq=holder.seq, proposed=proposed)


def _set_back(requests: WriterRequests, request: SetWatermark) -> WatermarkBack:
    from shroff.language.values import parse_time
    from shroff.log.lateness import WatermarkReset
    from shroff.worker.inbox import WATERMARK

    try:
        at_ms = parse_time(request.to)
    except ValueError as error:
        raise UsageError(f"{request.to!r} is not a time such as 2026-03-01T10:00:00Z: {error}") from None
    action = Action("watermark.set", "log", None, {"to": time_text(at_ms), "because": request.because})
    reply = requests.ask(WATERMARK, to_json((at_ms, request.because)), action)
    seq, result = from_json(reply, type=tuple[int, WatermarkReset])
    return WatermarkBack(watermark=result.at, was=result.was, seq=seq)
