"""Records of notices and the contract of their store: pending notices, letters, questions.

No address is kept: an event's is looked up when its mail is made, and a keyed hash stands for it here. So whoever is
forgotten (`shroff erase`) is forgotten here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from shroff.people.store import Change as PeopleChange

WAITING: str = ""  # the `letter` of a due that no letter has taken
NO_ONE: bytes = bytes(32)  # stands for recipients that nobody knows, or has to limit
PASSED: str = "-"  # that of one that notifies nobody
OPEN, SENT, REFUSED, UNKNOWN, DROPPED = "open", "sent", "refused", "unknown", "dropped"
STATES = (OPEN, SENT, REFUSED, UNKNOWN, DROPPED)
FAILED = (REFUSED, UNKNOWN)  # states in which a letter waits for a person
SHIPPED = "it was written with the text that comes with shroff, since the project's own failed:"


@dataclass(frozen=True, slots=True)
class Due:
    """A due notification of a notice, not before `due_ms`.

    `key` is the same whenever it comes again: what is known is not taken twice. `is_held` says that it was to be told
    earlier and was held back, by quiet hours or a limit. `told` is JSON of what no event says.
    """

    key: str
    notice: str
    kind: str  # flag | decision | answer | case | failure | spike | traffic | report | nothing
    event: str  # payment/p-1, or nothing
    rule: str
    told: str
    at_ms: int
    due_ms: int
    is_held: bool = False
    letter: str = WAITING


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One mail, call or document on its way, with what it tells of.

    `claimed_ms` is until when the process that sends it may take; 0 where none does. `doubts` counts how often a
    process ended while it was being sent, so that nobody knows: with the second doubt it is `UNKNOWN` and stays.
    """

    id: str
    notice: str
    rule: str
    who: bytes = field(repr=False)
    made_ms: int
    due_ms: int
    dues: str  # their keys, as a list of JSON
    state: str = OPEN
    attempts: int = 0
    doubts: int = 0
    claimed_ms: int = 0
    done_ms: int = 0
    reason: str = ""
    shown: str = ""  # to whom, as people may see it

    @property
    def state_words(self) -> str:
        """The state for people: an open letter is waiting, or deferred after an attempt that failed."""
        return ("deferred" if self.reason else "waiting") if self.state == OPEN else self.state


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a customer about a decision, and its answer once there is one.

    The link is signed over `id`, `receipt`, `who` and `ends_ms`; nothing here is enough to make one. Without an
    answer `answered_ms` is when somebody first answered after its end.
    """

    id: str
    letter: str
    notice: str
    event: str
    receipt: str
    who: bytes = field(repr=False)
    made_ms: int
    ends_ms: int
    answer: str = ""  # yes | no
    answered_ms: int = 0
    is_released: bool = False


@dataclass(frozen=True, slots=True)
class QuestionCounts:
    """Results of questions: answered, expired without an answer, or still open."""

    yes: int = 0
    no: int = 0
    ended: int = 0
    open: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.yes + self.no + self.ended + self.open


class NoticeLook(Protocol):
    """Questions to the store."""

    def due(self, key: str) -> Due | None:
        """The due of this key."""

    def dues_of(self, keys: Collection[str]) -> dict[str, Due]:
        """The dues of these keys; those that are not there are left out."""

    def dues(self, now_ms: int, limit: int = 500) -> list[Due]:
        """Pending notices that are due by now, the longest waiting first, of one moment in the order of the log."""

    def waiting(self, notice: str, limit: int = 500) -> list[Due]:
        """Pending notices of a name, due now or later, the longest waiting first."""

    def count_waiting(self) -> int:
        """How much waits to become letters."""

    def count_letters(self, states: Collection[str]) -> dict[str, int]:
        """How many letters are in these states, by state; those that no letter is in are left out."""

    def failing(self) -> list[OutgoingMessage]:
        """The oldest letter of each notice that was put off, where none of that notice left since it was made."""

    def letter(self, id: str) -> OutgoingMessage | None:
        """The letter of this id."""

    def letters_of(self, ids: Collection[str]) -> dict[str, OutgoingMessage]:
        """The letters of these ids; those that are not there are left out."""

    def open_letters(self, now_ms: int, limit: int = 100, without: Collection[str] = ()) -> list[OutgoingMessage]:
        """Letters that are to leave by now and that nobody is sending, the longest waiting first.

        Those of some notices are left out.
        """

    def letters(
        self, states: Collection[str] = (), *, before: tuple[int, str] | None = None, limit: int = 100
    ) -> list[OutgoingMessage]:
        """Letters in these states, or all, newest first; behind that of a time and an id."""

    def letters_about(self, events: Collection[str]) -> list[OutgoingMessage]:
        """The letters that tell of any of these events, beside others or alone, oldest first."""

    def sent_since(self, notice: str, rule: str, who: bytes, since_ms: int) -> list[int]:
        """When letters of this notice and rule to these recipients were made after a moment, oldest first.

        Those that were dropped do not count: nobody was told.
        """

    def question(self, id: str) -> Question | None:
        """The question of this id."""

    def asked_between(self, start_ms: int, end_ms: int, now_ms: int) -> QuestionCounts:
        """Results so far of the questions asked in [start, end)."""

    def last_made_ms(self, notice: str) -> int:
        """When the newest letter of a notice was made; 0 where there is none."""

    def questions_about(self, events: Collection[str]) -> list[Question]:
        """The questions about any of these events, oldest first."""


class NoticeChange(NoticeLook, Protocol):
    """One transaction: all of it or nothing, and the changes of people with it."""

    @property
    def people(self) -> PeopleChange:
        """The same transaction for people: the record of who did what, and requests to the log."""

    def add_due(self, due: Due) -> bool:
        """Add a due notification; False where its key is known, and nothing is changed."""

    def add_dues(self, dues: Sequence[Due]) -> int:
        """Keep many of them; gives how many were new."""

    def hold(self, keys: Sequence[str], due_ms: int) -> None:
        """Hold what waits back until then."""

    def take(self, keys: Sequence[str], letter: str) -> None:
        """Assign pending notices to this letter."""

    def take_each(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Assign pending notices by their keys, each to a letter of its own."""

    def put_letter(self, letter: OutgoingMessage) -> None:
        """Keep a letter, new or changed."""

    def put_letters(self, letters: Sequence[OutgoingMessage]) -> None:
        """Keep letters, each new or changed, and each once."""

    def put_question(self, question: Question) -> None:
        """Keep a question, new or changed."""

    def forget(self, letters: Sequence[str], events: Collection[str]) -> None:
        """Keep nothing of whom these letters were for, nor of who was asked about these events.

        A question that was not answered is answered by nobody any more: its link was signed over who was asked.
        """

    def sweep(self, before_ms: int) -> None:
        """Let go of dues, done letters and questions that ended, all from before a moment."""


class NoticeStore(Protocol):
    """Where notices are kept: a contract, which `tests.support.contracts.notices` holds an adapter to.

    Durable when `change` has ended; changes follow each other, those of people included. Calls may come from any
    thread. Raises: as `people.store.PeopleStore`.
    """

    def look(self) -> AbstractContextManager[NoticeLook]:
        """Questions, each answered as of its own moment."""

    def change(self) -> AbstractContextManager[NoticeChange]:
        """A transaction; what is raised inside undoes it."""

    def beside(self, people: PeopleChange) -> NoticeChange:
        """The transaction of a change of people in the same database, for notices too; it ends with that one.

        The store was looked into before: its tables are made outside of anybody's transaction.
        """

    def close(self) -> None:
        """Let go of all connections. Closing twice does nothing."""
