"""Records of notices: due notifications, letters, questions.

No address is stored: an event's address is looked up when its mail is made, and a keyed hash stands for it here. So
after `shroff erase` no address remains here either.
"""

from __future__ import annotations

from dataclasses import field

from shroff.runtime.values import FrozenStruct, frozen

WAITING: str = ""  # `letter` of a due notification that has none yet
NO_ONE: bytes = bytes(32)  # recipients that are unknown, or that no limit counts
PASSED: str = "-"  # `letter` of a due notification that notifies nobody
OPEN = "open"
SENT = "sent"
REFUSED = "refused"
UNKNOWN = "unknown"
DROPPED = "dropped"
PARTLY = "partly"  # sent, but the mail server refused some of the recipients
STATES = (OPEN, SENT, PARTLY, REFUSED, UNKNOWN, DROPPED)
LEFT = (SENT, PARTLY)  # states in which somebody has the letter
FAILED = (PARTLY, REFUSED, UNKNOWN)  # states that need a person's attention
SHIPPED = "it was written with the text that comes with shroff, since the project's own failed:"


class Due(FrozenStruct):
    """A notification of a notice, due at `due_ms` at the earliest.

    Repeated requests have the same `key`, by which they are dropped. `is_held` means that quiet hours or a limit
    deferred it. `told` is JSON with details that the event does not have.
    """

    key: str
    notice: str
    # flag, decision, verdict, answer, appeal, sent, refused, case, failure, spike, traffic, report or nothing
    kind: str
    event: str  # such as payment/p-1; empty without an event
    rule: str
    told: str
    at_ms: int
    due_ms: int
    is_held: bool = False
    letter: str = WAITING


@frozen
class OutgoingMessage:
    """One mail, call or document to deliver, with the notifications that it contains.

    `claimed_ms` is the end of the claim of the process that sends it; 0 without one. `doubts` counts how often a
    process ended while sending it; after the second time its state is UNKNOWN, and it is not sent again.
    """

    id: str
    notice: str
    rule: str
    who: bytes = field(repr=False)
    made_ms: int
    due_ms: int
    dues: str  # keys of the notifications, as a JSON list
    state: str = OPEN
    attempts: int = 0
    doubts: int = 0
    claimed_ms: int = 0
    done_ms: int = 0
    reason: str = ""
    shown: str = ""  # recipients, in the form that users may see

    @property
    def state_words(self) -> str:
        """State for users: an open letter is waiting, or deferred after a failed attempt."""
        if self.state == OPEN:
            return "deferred" if self.reason else "waiting"
        return "partly refused" if self.state == PARTLY else self.state


@frozen
class Question:
    """A question to a customer about a decision, and its answer once there is one.

    The link is signed over `id`, `event`, `receipt`, `who` and `ends_ms`; the stored values are not enough to make one.
    If the link expired unanswered, `answered_ms` is the time of the first late answer.
    """

    id: str
    letter: str
    notice: str
    event: str
    receipt: str
    who: bytes = field(repr=False)
    made_ms: int
    ends_ms: int
    answer: str = ""  # yes or no; for reasons: wrong, then upheld or overturned
    answered_ms: int = 0
    is_released: bool = False
    words: str = ""  # text of an appeal, by the customer

    @property
    def is_why(self) -> bool:
        """Whether the link shows the reasons of a decision, and asks nothing unless the customer appeals."""
        return not self.letter


class QuestionCounts(FrozenStruct):
    """Counts of questions: answered, expired without an answer, still open."""

    yes: int = 0
    no: int = 0
    ended: int = 0
    open: int = 0

    @property
    def count(self) -> int:
        return self.yes + self.no + self.ended + self.open
