"""Files of which no event type accepted a line, noted among the log's offsets until a file of that name is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.json import encode as to_json

from shroff.events.intake import Intake
from shroff.events.mapping import Unmatched
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Batch, Log, Offset, kept_offset
from shroff.streams.source import PolledMessages

UNMATCHED = "unmatched"  # source name of these offsets


class PassedOver(FrozenStruct):
    """Number of lines of an unmatched file, and when it was read."""

    lines: int
    at_ms: int


def unmatched_of(log: Log) -> dict[str, PassedOver]:
    stored = log.offsets.of(UNMATCHED)
    return {name: kept_offset(UNMATCHED, name, text, PassedOver) for name, text in stored.items() if text}


def note_unmatched(log: Log, files: Iterable[str], unmatched: Iterable[Unmatched], now_ms: int) -> None:
    """Note which of these files were unmatched, and clear the notes of the others. Raises: as the log's `append`."""
    stored = log.offsets.of(UNMATCHED)
    current = {file.source: to_json(PassedOver(file.lines, now_ms)).decode() for file in unmatched}
    offsets = [
        Offset(UNMATCHED, name, current.get(name, ""))
        for name in files
        if current.get(name, "") != stored.get(name, "")
    ]
    if offsets:
        log.append(Batch(offsets=offsets))


class PassingOver:
    """Notes, for each commit of a worker that reads files, which of them are unmatched."""

    def __init__(self, log: Log, intake: Intake, now_ms: Callable[[], int]) -> None:
        self._intake = intake
        self._now_ms = now_ms
        self._kept = {name: over.lines for name, over in unmatched_of(log).items()}
        self._before: dict[str, int | None] = {}  # unmatched lines before this process; None if a line was accepted

    def offsets(self, found: Sequence[PolledMessages]) -> list[Offset]:
        current = {file.source: file.lines for file in self._intake.unmatched}
        offsets = {}
        for polled in found:
            name = polled.part
            if name not in self._before:
                self._before[name] = 0 if polled.begins else self._kept.get(name)
            earlier_lines = self._before[name]
            text = ""
            if earlier_lines is not None and name in current:
                text = to_json(PassedOver(earlier_lines + current[name], self._now_ms())).decode()
            if text or polled.begins or name in self._kept:
                offsets[name] = Offset(UNMATCHED, name, text)
        return list(offsets.values())
