"""`shroff decide`: events in, one line each; decisions out, in the same order."""

from __future__ import annotations

import io
import os
import select
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from shroff.cli.operations import FORMAT, HASHED, takes
from shroff.cli.progress import bars
from shroff.cli.session import Session, command, many
from shroff.operations.declaration import QUARANTINED, AsEvent, OperationRequest, Param

if TYPE_CHECKING:
    from shroff.events.formats.lines import Lines


class DecideArguments(OperationRequest[Any]):
    """The file to decide, and how it is read."""

    file: Annotated[str, Param(metavar="[FILE|-]", complete="files", is_argument=True)] = "-"
    as_type: Annotated[str | None, AsEvent("The event type of every line.  [default: each line names its own]")] = None
    is_hashed: Annotated[bool, HASHED] = False
    format: Annotated[str | None, FORMAT] = None


@command("decide")
@takes(DecideArguments)
def decide(session: Session, asked: DecideArguments) -> int:
    """Read events as JSON lines and write one JSON line for each: its decision, once it is durable.

    An event of a type that is not decided gets `"decided": false`. A refused event gets a problem document with its
    `line`. An event that the log already has gets its first decision again.

    Examples:
        shroff decide examples/payment.json --as payment
        tail -f payments.jsonl | shroff decide - --as payment
    """
    from shroff.events.formats.lines import line_of
    from shroff.log.writer import REFUSED
    from shroff.worker.answers import answer_json, is_lacking

    project = session.project
    lines, has_more = opened_lines(asked.file, asked.format)
    name = "-" if asked.file == "-" else Path(asked.file).name
    kinds = Counter[str]()
    session.stopped = "No event was processed yet."
    with lines, bars("restoring state, events") as (restoring,):
        groups = project.taking.answers(
            lines,
            name,
            as_type=asked.as_type,
            is_hashed=asked.is_hashed,
            has_more=has_more,
            restoring=restoring,
            ready=session.warn,
        )
        with closing(groups):
            for group in groups:
                texts = [answer_json(answer, line=line_of(place)) for place, answer in group]
                kinds.update(answer.kind for _, answer in group)
                # Set before writing, as a reader of the answer may stop the program at once
                session.stopped = f"{many(kinds.total(), 'event is', 'events are')} decided and stored."
                session.write(b"\n".join(texts) + b"\n")
                session.flush()
    if kinds:
        session.next("shroff quarantine list" if kinds[REFUSED] else "shroff explain ID")
    return QUARANTINED if is_lacking(kinds) else 0


def opened_lines(file: str, format: str | None) -> tuple[Lines, Callable[[], bool]]:
    """Open a file or standard input; return its lines, and a function that tells whether another line has arrived."""
    from shroff.events.formats.encodings import read_lines, read_stream

    path = Path(file)
    if file == "-" or (path.exists() and not path.is_file() and not path.is_dir()):
        arrivals = ArrivingLines(os.dup(0) if file == "-" else os.open(path, os.O_RDONLY))
        return read_stream(arrivals, format or "jsonl", name=file), arrivals.has_line  # type: ignore[arg-type]  # it reads lines
    return read_lines(path, format), lambda: True


CHUNK_BYTES = 1 << 20


class ArrivingLines(io.RawIOBase):
    """Lines of a file descriptor as they arrive, for the main thread; closing this closes the descriptor.

    Python handles a signal that comes just before a read only after it, which may be never. So this also waits for the
    byte that a signal writes (`signal.set_wakeup_fd`), and Ctrl-C takes effect at once.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._signalled, self._wakes = os.pipe()
        for end in (self._signalled, self._wakes):
            os.set_blocking(end, False)
        self._woke_before = signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        self._bytes = bytearray()
        self._at = 0
        self._is_done = False

    def readable(self) -> bool:
        return True

    def has_line(self) -> bool:
        """Return whether a complete line can be read without waiting, or the end was reached."""
        return self._is_done or self._bytes.find(b"\n", self._at) >= 0

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line; wait for it if necessary. The last one may lack its line end."""
        limit = -1 if size is None else size
        searched = self._at
        while True:
            end = self._bytes.find(b"\n", searched)
            if end >= 0:
                break
            searched = len(self._bytes)
            if self._is_done or 0 <= limit <= searched - self._at:
                break
            searched -= self._drop_input()
            more = self._read()
            self._is_done = not more
            self._bytes += more
        stop = end + 1 if end >= 0 else len(self._bytes)
        stop = min(stop, self._at + limit) if limit >= 0 else stop
        line = bytes(self._bytes[self._at : stop])
        self._at = stop
        return line

    def _read(self) -> bytes:
        while True:
            ready, _, _ = select.select([self._descriptor, self._signalled], [], [])
            if self._descriptor in ready:
                return os.read(self._descriptor, CHUNK_BYTES)
            os.read(ready[0], CHUNK_BYTES)  # a signal came, whose handler has run or runs next

    def _drop_input(self) -> int:
        dropped = self._at
        del self._bytes[:dropped]
        self._at = 0
        return dropped

    def close(self) -> None:
        if not self.closed:
            signal.set_wakeup_fd(self._woke_before)
            for descriptor in (self._descriptor, self._signalled, self._wakes):
                os.close(descriptor)
        super().close()
