"""What would be decided of an event if it came now, without anything being written.

The engine decides on a state that moves along with it. So a copy of this process decides the event, on its copy of the
state, and ends: the same code, the same bytes, and nothing to undo (docs/decisions/0035).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from shroff.errors import TransientError
from shroff.events.intake import Submission
from shroff.log.known import Known
from shroff.log.writer import Answer, Writer
from shroff.runtime.process_copy import Asked
from shroff.streams.log import Log

PATIENCE_S: Final = 10.0
AT_ONCE_MAX: Final = 100  # events of one request: each takes a copy of the process
LATER: Final = "what would be decided could not be computed in time; try again"


def asking(submissions: Sequence[Submission]) -> Callable[[Writer, Log], Asked]:
    """An errand that begins to find out what would come of each of these, if it came alone.

    It raises StorageError where the system gives no copy of the process.
    """

    def begin(writer: Writer, log: Log) -> Asked:
        alone = [[one] for one in submissions]
        return Asked([partial(_decided, writer, one, writer.look_up(one)) for one in alone])

    return begin


def answers_of(asked: Asked, count: int) -> list[Answer]:
    """What would come of each; waits for it. Raises: TransientError where it does not come."""
    found = asked.answers(PATIENCE_S)
    if len(found) < count:
        raise TransientError(LATER)
    return [msgspec.msgpack.decode(one, type=Answer) for one in found]


def _decided(writer: Writer, submissions: Sequence[Submission], known: Known) -> bytes:
    """In a copy of the process: what its draft gives."""
    return msgspec.msgpack.encode(writer.prepare(submissions, known=known).answers[0])
