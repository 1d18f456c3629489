"""Records of notices: pending notices, letters, questions.

No address is kept: an event's is looked up when its mail is made, and a keyed hash stands for it here. So whoever is
forgotten (`shroff erase`) is forgotten here, too.
"""

from __future__ import annotations

from dataclasses import field

from shroff.runtime.values import FrozenStruct, frozen

WAITING: str = ""  # the `letter` of a due that no letter has taken
NO_ONE: bytes = bytes(32)  # stands for recipients that nobody knows, or has to limit
PASSED: str = "-"  # that of one that notifies nobody
OPEN = "open"
SENT = "sent"
REFUSED = "refused"
UNKNOWN = "unknown"
DROPPED = "dropped"
PARTLY = "partly"  # sent, but the mail server refused some of the recipients
STATES = (OPEN, SENT, PARTLY, REFUSED, UNKNOWN, DROPPED)
LEFT = (SENT, PARTLY)  # states in which somebody has the letter
FAILED = (PARTLY, REFUSED, UNKNOWN)  # states in which a letter waits for a person
SHIPPED = "it was written with the text that comes with shroff, since the project's own failed:"


class Due(FrozenStruct):
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


@frozen
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
        if self.state == OPEN:
            return "deferred" if self.reason else "waiting"
        return "partly refused" if self.state == PARTLY else self.state


@frozen
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
    answer: str = ""  # yes | no; of a reasons page: wrong, then upheld | overturned
    answered_ms: int = 0
    is_released: bool = False
    words: str = ""  # the customer's own, with an appeal

    @property
    def is_why(self) -> bool:
        """Whether its link shows the reasons of the decision, and asks nothing unless the customer appeals."""
        return not self.letter


class QuestionCounts(FrozenStruct):
    """Results of questions: answered, expired without an answer, or still open."""

    yes: int = 0
    no: int = 0
    ended: int = 0
    open: int = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self.yes + self.no + self.ended + self.open
