"""The watermark of a project's log: what holds it, and setting it back where one event leapt into the future."""

from __future__ import annotations

import msgspec

from shroff.app.live.requests import Waits, WriterRequests
from shroff.app.parts import ProjectPart
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.events.validation import latest_ms
from shroff.people.audit import Action
from shroff.runtime.progress import unheard


class WatermarkLook(msgspec.Struct, frozen=True):
    """The watermark of a log as it is now.

    Args:
        watermark: The time that late events are judged against; None without an event.
        event: The event that holds it beyond the clock by more than `ahead`, such as `payment/p-1`; None where it is
            not beyond it.
        seq: The sequence number of that event.
        proposed: The newest time that is not beyond the clock, to set it back to.
    """

    watermark: str | None
    clock: str
    event: str | None = None
    seq: int | None = None
    proposed: str | None = None


class WatermarkBack(msgspec.Struct, frozen=True):
    """A watermark that was set back, by the control event at `seq`."""

    watermark: str
    was: str
    seq: int


class Watermarks(ProjectPart):
    """The watermark of an opened project."""

    def look(self) -> WatermarkLook:
        """The watermark, and the event that holds it beyond the clock. Cost: a pass over the log where one does.

        Raises: UsageError where there is no log yet.
        """
        from shroff.log.watermark import look_beyond

        WriterRequests(self._opened).needs_log("so it has no watermark")
        now_ms = self._opened.now_ms()
        clock, until_ms = time_text(now_ms), latest_ms(self._opened.definitions.settings, now_ms)
        with self._opened.reading() as log:
            at_ms = log.watermark_ms()
            if at_ms is None or at_ms <= until_ms:
                return WatermarkLook(None if at_ms is None else time_text(at_ms), clock)
            found = look_beyond(log, self._opened.definitions, until_ms)
        if found is None:
            return WatermarkLook(time_text(at_ms), clock)
        proposed = None if found.before_ms is None else time_text(found.before_ms)
        return WatermarkLook(time_text(at_ms), clock, found.event, found.seq, proposed)

    def set_back(self, to: str, because: str, waits: Waits = unheard) -> WatermarkBack:
        """Set the watermark back to a time, with a reason for the audit log; a running service does it between batches.

        Raises: UsageError where it would not go back, where the time is beyond the clock, or where state cannot be
            computed anew since older events have left the store.
        """
        from shroff.language.values import parse_time
        from shroff.log.watermark import SetBack
        from shroff.worker.inbox import WATERMARK

        WriterRequests(self._opened).needs_log("so it has no watermark")
        try:
            at_ms = parse_time(to)
        except ValueError as error:
            raise UsageError(f"{to!r} is not a time such as 2026-03-01T10:00:00Z: {error}") from None
        if not because.strip():
            raise UsageError("say why, for the audit log: --because 'payment m2 has a mistyped year'.")
        action = Action("watermark.set", "log", None, {"to": time_text(at_ms), "because": because})
        body = msgspec.json.encode((at_ms, because))
        reply = WriterRequests(self._opened).ask(WATERMARK, body, waits, action)
        seq, found = msgspec.json.decode(reply, type=tuple[int, SetBack])
        return WatermarkBack(found.at, found.was, seq)
