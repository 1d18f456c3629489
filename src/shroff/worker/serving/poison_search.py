"""Poison messages: the search for the one message of a batch that the program fails at, by smaller batches.

Such an error is a mistake of this program, and takes the state of its batch with it. The message must not stop all
others: it is looked for, refused, and told of loudly.
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

SHARE = 16  # a batch of 4,096 has its message found after three more failures, each a restore of state
IN_A_ROW_MAX = 10  # messages refused so with none taken between: then it is not the messages that are at fault


class SuspectError(Exception):
    """Taking these submissions failed with an error that nobody meant; which one it was is not known."""

    def __init__(self, submissions: Sequence[Submission], error: Exception) -> None:
        super().__init__(str(error))
        self.submissions, self.error = submissions, error


class RequestError(Exception):
    """Carrying out what the inbox has failed with an error that nobody meant."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def unmeant_as(kind: Callable[[Exception], Exception]) -> Iterator[None]:
    """Raises: an error of this kind in place of one that says nothing of the outside or of what is stored."""
    try:
        yield
    except (ShroffError, OSError, MemoryError):
        raise
    except Exception as error:
        raise kind(error) from error


class PoisonSearch:
    """How large batches are, and which messages are refused whatever they say.

    Args:
        size: Of batches as long as nothing is suspected.

    `commit` is how batches are committed.
    """

    def __init__(self, size: int) -> None:
        self._full, self._size, self._left, self._in_a_row = size, size, 0, 0
        self.unwanted: dict[tuple[str, str], str] = {}
        self.commit: Callable[[Writer, Prepared], None] = Writer.commit
        self.found = 0

    @property
    def is_on(self) -> bool:
        """Whether one of the next messages is suspected: batches go one by one then."""
        return self._left > 0

    @property
    def size(self) -> int:
        """How many submissions a batch has at most."""
        return min(self._size, self._left) if self.is_on else self._full

    def suspect(self, suspect: SuspectError, *, shows_words: bool) -> str:
        """Go on more carefully; gives the message to report.

        Raises: the error itself, where there is nothing to look among or refusing messages does not help.
        """
        places = [(submission.source, submission.place) for submission in suspect.submissions]
        messages = [(source, message_of(place)) for source, place in places]
        count = len({*messages}) if messages != places else len(places)  # the items of a message are decided together
        if count == 0 or (count == 1 and self._in_a_row >= IN_A_ROW_MAX):
            raise suspect.error
        if count > 1:
            self._size, self._left = max(1, count // SHARE), len(places)
            return failure(f"shroff cannot process one of {count:,} messages, and searches for it", suspect.error)
        for submission in suspect.submissions:  # several where they are the items of one message
            self.unwanted[submission.source, submission.place] = reason_of(suspect.error, shows_words=shows_words)
        self._in_a_row += 1
        self.found += 1
        what = (
            f"{submission.source}, {submission.place}: shroff cannot process it. It is quarantined; the others continue"
        )
        return failure(what, suspect.error)

    def take(
        self, writer: Writer, work: WorkerCounts, submissions: Sequence[Submission], offsets: Sequence[Offset] = ()
    ) -> Prepared:
        """Decide, commit and count a batch at once. Raises: SuspectError; whatever the log raises."""
        with unmeant_as(partial(SuspectError, submissions)):
            prepared = writer.prepare(submissions, offsets=offsets, known=writer.look_up(submissions))
            self.commit(writer, prepared)
        work.counts.add(prepared, len(submissions))
        work.batches += 1
        work.seq += len(prepared.batch.records)
        self.passed(submissions, has_taken=bool(prepared.batch.records))
        return prepared

    def passed(self, submissions: Collection[Submission], *, has_taken: bool) -> None:
        """Take note that these are done."""
        self._left = max(0, self._left - len(submissions))
        if has_taken:
            self._in_a_row = 0
        if self.unwanted:
            for submission in submissions:
                self.unwanted.pop((submission.source, submission.place), None)
