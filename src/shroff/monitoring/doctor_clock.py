"""Check of `doctor`: the machine's clock, compared with times in the log and the time since the machine started."""

from __future__ import annotations

import ctypes
import time
from itertools import chain

from msgspec import Struct

from shroff.events.event import time_text
from shroff.language.values import HOUR_MS, MINUTE_MS, show_duration
from shroff.runtime.texts import many
from shroff.streams.log import Log

BUILT_MS = 1_767_225_600_000  # 2026-01-01: a clock before it is wrong
OFF_MS = MINUTE_MS  # smaller steps come from a time service
NEWEST = 100  # records whose two times are compared
EVENTS_MIN = 20  # minimum of events among them
SHIFTED_MS = 5 * MINUTE_MS  # minimum shift of their times
SPREAD = 0.1  # allowed spread, as a share of the shift
ODD = 10  # percent of the events that are ignored at each end
SET = "Set the clock, or start the time service of this machine."
TIMEX_BYTES = 512  # of `struct timex`, 208; zeros query without setting anything
TIME_ERROR = 5
_SOURCE = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # continues while the machine sleeps


class ClockSteps(Struct):
    """Steps of the clock between two checks in this process."""

    base_ms: int | None = None  # the clock's time at which the machine started
    stepped_at_ms: int = 0
    by_ms: int = 0

    def words(self, now_ms: int) -> str:
        """Return a message about a step of the last hour; empty without one."""
        base_ms = now_ms - time.clock_gettime_ns(_SOURCE) // 1_000_000
        step_ms = 0 if self.base_ms is None else base_ms - self.base_ms
        self.base_ms = base_ms
        if abs(step_ms) > OFF_MS:
            self.stepped_at_ms = now_ms
            self.by_ms = step_ms
        if not 0 <= now_ms - self.stepped_at_ms < HOUR_MS:
            return ""
        way = "ahead" if self.by_ms > 0 else "back"
        by = show_duration(abs(self.by_ms) // 1_000 * 1_000)
        return f"it was set {way} by {by} at {time_text(self.stepped_at_ms)}"


def clock_words(log: Log, now_ms: int, steps: ClockSteps) -> tuple[bool, str, str]:
    """Compare the clock with the times in the log; return whether it is wrong, a message, and the remedy, if any.

    A clock that is ahead without a step looks like a source that is slow: it is wrong only if the system says that no
    time service sets it.
    """
    is_wrong, trouble, cure = _trouble(log, now_ms, steps)
    return is_wrong, f"the clock of this machine shows {time_text(now_ms)}{'; ' * bool(trouble)}{trouble}", cure


def _trouble(log: Log, now_ms: int, steps: ClockSteps) -> tuple[bool, str, str]:
    """Return whether the clock is wrong, a message and the remedy; empty texts if nothing is wrong."""
    stepped = steps.words(now_ms)
    if now_ms < BUILT_MS:
        return True, "before this version was released", SET
    last_seq = log.last_seq()
    newest_ms = max((at_ms or 0 for _, at_ms in log.ingested(last_seq - 1, last_seq)), default=0)
    if newest_ms > now_ms + OFF_MS:
        message = f"the newest record was written at {time_text(newest_ms)} by it: it is behind, or it was ahead then"
        return True, message, f"{SET} If it is right now, records of that time keep a time that is too late."
    if stepped:
        return True, stepped, f"{SET} If it is right now, this finding ends an hour after the step."
    shifted = _shifted_words(log, last_seq)
    if shifted and is_unset():
        return True, f"{shifted}; no time service sets it", SET
    return False, shifted, f"If the source delivers at once: {SET[0].lower()}{SET[1:]}" if shifted else ""


def is_unset() -> bool:
    """Return whether the kernel says that no time service sets the clock; False if it cannot be queried."""
    try:
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) == TIME_ERROR)
    except (AttributeError, OSError, TypeError):
        return False  # another system than Linux


def _shifted_words(log: Log, last_seq: int) -> str:
    """Return a message if the newest events arrived over some time, all equally long after or before their own time."""
    after = max(last_seq - NEWEST, log.pruned_to(), 0)
    batches = [(seq, at_ms) for seq, at_ms in log.ingested(after, last_seq) if at_ms is not None]
    arrived = list[int]()
    behind_ms = list[int]()
    number = -1
    for record in chain.from_iterable(log.read(after, last_seq)):
        while number + 1 < len(batches) and batches[number + 1][0] <= record.seq:
            number += 1
        if record.kind == "event" and number >= 0:
            arrived.append(batches[number][1])
            behind_ms.append(batches[number][1] - record.time_ms)
    if len(behind_ms) < EVENTS_MIN or max(arrived) - min(arrived) < MINUTE_MS:
        return ""
    behind_ms.sort()
    odd = len(behind_ms) * ODD // 100
    low_ms = behind_ms[odd]
    high_ms = behind_ms[-1 - odd]
    shift_ms = min(low_ms, high_ms, key=abs)
    if abs(shift_ms) < SHIFTED_MS or high_ms - low_ms > SPREAD * abs(shift_ms):
        return ""
    way = "after" if shift_ms > 0 else "before"
    by = show_duration(abs(shift_ms) // 1_000 * 1_000)
    ahead = "ahead" if shift_ms > 0 else "behind"
    return (
        f"of the newest {many(len(behind_ms), 'event')} most arrived {by} {way} their time: it is {ahead}, or their "
        "source is " + ("slow" if shift_ms > 0 else "ahead")
    )
