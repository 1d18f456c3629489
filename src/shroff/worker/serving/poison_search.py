"""Poison messages: finds the one message of a batch that makes the program fail, by trying smaller batches.

Such an error is a defect of this program, and the state of its batch is lost. One message must not stop all others,
so it is searched for, quarantined, and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from shroff.errors import ShroffError
from shroff.events.formats.lines import message_of
from shroff.events.intake import Submission
from shroff.log.writer import Prepared, Writer
from shroff.runtime.logs import failure
from shroff.streams.log import Offset
from shroff.worker.serving.counts import WorkerCounts
from shroff.worker.serving.message_decoder import reason_of

SHARE = 16  # a poison message in a batch of 4,096 is found after three more failures, each a restore of state
IN_A_ROW_MAX = 10  # messages refused in a row with none accepted: then the messages are not the cause


class SuspectError(Exception):
    """Taking these submissions raised an unexpected error; which submission caused it is unknown."""

    def __init__(self, submissions: Sequence[Submission], error: Exception) -> None:
        super().__init__(str(error))
        self.submissions = submissions
        self.error = error


class RequestError(Exception):
    """Handling a request from the inbox raised an unexpected error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def unmeant_as(kind: Callable[[Exception], Exception]) -> Iterator[None]:
    """Convert unexpected errors; those that describe the environment or stored data pass unchanged."""
    try:
        yield
    except (ShroffError, OSError, MemoryError):
        raise
    except Exception as error:
        raise kind(error) from error


class PoisonSearch:
    """Decides the size of batches, and which messages are refused unread.

    Args:
        size: Batch size while no message is suspected.

    `commit` is the function that commits a batch.
    """

    def __init__(self, size: int) -> None:
        self._full = size
        self._size = size
        self._left = 0
        self._in_a_row = 0
        self.unwanted: dict[tuple[str, str], str] = {}
        self.commit: Callable[[Writer, Prepared], None] = Writer.commit
        self.found = 0

    @property
    def is_on(self) -> bool:
        """Whether a suspect is among the next messages; each batch is then committed before the next is decided."""
        return self._left > 0

    @property
    def size(self) -> int:
        """Largest number of submissions in the next batch."""
        return min(self._size, self._left) if self.is_on else self._full

    def suspect(self, suspect: SuspectError, *, shows_words: bool) -> str:
        """Continue with smaller batches, or refuse the message if it is alone; return the message to report.

        Raises: the original error if the batch is empty or too many messages in a row were refused.
        """
        locations = [(submission.source, submission.place) for submission in suspect.submissions]
        messages = [(source, message_of(place)) for source, place in locations]
        count = len(locations)
        if messages != locations:  # all items of a message are decided together
            count = len({*messages})
        if count == 0 or (count == 1 and self._in_a_row >= IN_A_ROW_MAX):
            raise suspect.error
        if count > 1:
            self._size = max(1, count // SHARE)
            self._left = len(locations)
            return failure(f"shroff cannot process one of {count:,} messages, and searches for it", suspect.error)
        for submission in suspect.submissions:  # more than one if they are items of one message
            self.unwanted[submission.source, submission.place] = reason_of(suspect.error, shows_words=shows_words)
        self._in_a_row += 1
        self.found += 1
        message = (
            f"{submission.source}, {submission.place}: shroff cannot process it. It is quarantined; the others continue"
        )
        return failure(message, suspect.error)

    def take(
        self, writer: Writer, work: WorkerCounts, submissions: Sequence[Submission], offsets: Sequence[Offset] = ()
    ) -> Prepared:
        """Decide, commit and count a batch. Raises: SuspectError for an unexpected error; errors of the log."""
        with unmeant_as(partial(SuspectError, submissions)):
            prepared = writer.prepare(submissions, offsets=offsets, known=writer.look_up(submissions))
            self.commit(writer, prepared)
        work.counts.add(prepared, len(submissions))
        work.batches += 1
        work.seq += len(prepared.batch.records)
        self.passed(submissions, has_taken=bool(prepared.batch.records))
        return prepared

    def passed(self, submissions: Collection[Submission], *, has_taken: bool) -> None:
        self._left = max(0, self._left - len(submissions))
        if has_taken:
            self._in_a_row = 0
        if self.unwanted:
            for submission in submissions:
                self.unwanted.pop((submission.source, submission.place), None)
