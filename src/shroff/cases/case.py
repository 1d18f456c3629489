"""Records of cases: alerts, the case that groups them, its activity, and its pending changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from shroff.json_types import JsonMapping
from shroff.project.settings.casework import DEFAULT
from shroff.runtime.values import FrozenStruct

OPEN = "open"
CLAIMED = "claimed"
SNOOZED = "snoozed"
ESCALATED = "escalated"
CLOSED = "closed"
STATES = (OPEN, CLAIMED, SNOOZED, ESCALATED, CLOSED)
UNCLOSED = (OPEN, CLAIMED, SNOOZED, ESCALATED)
FRAUD = "fraud"
VERDICTS = (FRAUD, "genuine", "unclear")
SECOND, DONE, DISPUTED, RESOLVED = 1, 2, 3, 4  # what `Case.look` says
CHECKED = "+sample"  # behind the mark of a rule that closes cases: people check this one
ORDERS = ("due", "urgent", "stake", "score", "newest")
Cursor = tuple[int, int]  # the value that a list is ordered by, and the number, of the last case of the part before
THE_CUSTOMER = "the customer"  # who changed a case by saying that it was not them
SAMPLE = "Sample of approvals"  # why their cases open, and their view
SCORE_PARTS = 1_000_000  # scores are kept as millionths: six places are all that they have
FREED: Final[JsonMapping] = MappingProxyType({"assignee": "", "assignee_name": "", "lock_ms": None})
OPENED: Final[JsonMapping] = MappingProxyType(
    {"state": OPEN, **FREED, "snoozed_ms": None, "verdict": "", "closed_ms": None, "closed_by": "", "closed_name": ""}
)


class Alert(FrozenStruct, gc=False):
    """One event that wants eyes, about one entity. There is one of each place of the log and entity.

    Args:
        seq: The place of its event, or of the label by which a customer denies that.
        event: Its type; `id` is that of the event.
        outcome: What was decided of it; empty for an event of a type that is not decided.
        rule: The rule that gave the top reason; empty where the score did.
        rules: All rules that raised it.
        stake: Its amount in smallest units; None where it has none.
        due_ms: By when it is to be answered.
        verdict: What an analyst answered; empty before.
        label: The verdict that is in force by now, whoever gave it, with its source and when it was known.
        customer: What the customer answered, as a verdict; empty before.
        queue: Into which a case goes that it opens; empty for the default one.
        auto_close: The mark of the first rule that closes cases and takes its event; empty where none does.
    """

    seq: int
    entity: str
    key: str
    event: str
    id: str
    time_ms: int
    due_ms: int
    outcome: str = ""
    score: int | None = None
    rule: str = ""
    rules: tuple[str, ...] = ()
    reason: str = ""
    stake: int | None = None
    case: int = 0
    verdict: str = ""
    decided_ms: int | None = None
    decided_by: str = ""
    label: str = ""
    label_source: str = ""
    label_ms: int | None = None
    customer: str = ""
    queue: str = ""
    auto_close: str = ""

    @property
    def about(self) -> bytes:
        """A short form of entity and key, which may be long."""
        return about_of(self.entity, self.key)

    @property
    def place(self) -> tuple[int, str]:
        """A unique name of the alert: its sequence number, and the entity."""
        return self.seq, self.entity

    @property
    def at_stake(self) -> int | None:
        """Its amount, unless it was approved and its customer does not deny it: that money has gone as it should."""
        return None if self.outcome == "approve" and self.customer != FRAUD else self.stake

    @property
    def named(self) -> str:
        """Its event, as labels name it."""
        return f"{self.event}/{self.id}"


class Case(FrozenStruct, gc=False):
    """Alerts about one key of an entity, under review together.

    Args:
        opened_ms: The time of its first event, so that the same log gives the same cases.
        due_ms: The earliest time by which one of its open alerts is to be answered.
        lock_ms: Until when it stays with whoever claimed it.
        score: The greatest score among its alerts, in millionths.
        rule: The rule of the top reason, which is that of the alert with the strongest outcome and greatest score.
        stake: What its open alerts have at stake together; None where none has an amount.
        last_seq: The place of its newest alert.
        version: Grows with everything that people do; not with alerts that come.
        verdict: How it ended; empty while it is open.
        look: 0; 1 while another analyst is to decide it again, 2 where one did; 3 while a third person is to decide
            between two who disagree, 4 where one did.
        first_by: Whose answer is checked, and behind a key the user who made it; in a disagreement both, with spaces
            between. `first_verdict` is the first's.
        customer: What customers answer about its events, as a verdict: fraud where one denies any, else the last.
        tags: Tags that people gave it, with a space before and behind each; so are `checks`, the ticked items of its
            checklist.
        queue: That of the alert that opened it, until somebody moves it; empty for the default one.
        auto_close: The mark of the rule that takes all of its alerts, with `CHECKED` where it is in the sample; else
            empty.
    """

    number: int
    about: bytes
    entity: str
    key: str
    opened_ms: int
    due_ms: int
    state: str = OPEN
    assignee: str = ""
    assignee_name: str = ""
    lock_ms: int | None = None
    snoozed_ms: int | None = None
    outcome: str = ""
    score: int | None = None
    rule: str = ""
    reason: str = ""
    stake: int | None = None
    alerts: int = 0
    last_seq: int = 0
    version: int = 1
    verdict: str = ""
    closed_ms: int | None = None
    closed_by: str = ""
    closed_name: str = ""
    changed_by: str = ""
    changed_name: str = ""
    changed_ms: int = 0
    look: int = 0
    first_by: str = ""
    first_verdict: str = ""
    customer: str = ""
    tags: str = ""
    checks: str = ""
    queue: str = ""
    auto_close: str = ""

    @property
    def tag(self) -> str:
        """Version tag: the version and the newest alert that the user has seen, sent back with each action."""
        return f"{self.version}.{self.last_seq}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Its entity, queue and rule, which checklists name."""
        return self.entity, self.queue or DEFAULT, self.rule

    @property
    def is_open(self) -> bool:
        """Whether somebody has to look at it."""
        return self.state != CLOSED

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has changed it since it opened."""
        return not (self.changed_by or self.changed_name)

    @property
    def is_denied_last(self) -> bool:
        """Whether what happened to it last is that a customer denied one of its events."""
        return not self.changed_by and self.changed_name == THE_CUSTOMER

    def is_barred(self, who: str) -> bool:
        """Whether the case waits for somebody else's answer: of no program, whose maker may have answered it before."""
        return self.look in {SECOND, DISPUTED} and (who in self.first_by.split(" ") or who.startswith("key-"))

    def is_held_by_another(self, who: str, now_ms: int) -> bool:
        """Whether somebody else has claimed it, and the lock holds."""
        return self.state == CLAIMED and self.assignee != who and self.lock_ms is not None and self.lock_ms > now_ms


# What happens to a case with words that somebody wrote.
WRITTEN = ("note", "escalated", "reopened", "silenced", "silence_asked")


class Happened(FrozenStruct, gc=False):
    """An entry of a case's history. `words` is the user's text, `more` JSON with what changed."""

    number: int
    case: int
    at_ms: int
    who: str
    name: str
    what: str
    words: str = ""
    more: str = "{}"


class Pending(FrozenStruct, gc=False):
    """A recent action that can be undone: a decision whose labels are not written, a snooze, a claim.

    `body` is JSON: for each case what it was before. `who_kind` and `role` say again later who that was.
    """

    number: int
    kind: str
    who: str
    name: str
    who_kind: str
    role: str
    at_ms: int
    due_ms: int
    body: bytes


class Attached(FrozenStruct, gc=False):
    """A file that belongs to a case. `sha256` is of its bytes."""

    number: int
    case: int
    name: str
    media_type: str
    size: int
    sha256: bytes
    who: str
    who_name: str
    at_ms: int


class View(FrozenStruct, gc=False):
    """A filter that somebody keeps under a name, for themselves or for all. `query` is that of its address."""

    owner: str
    owner_name: str
    name: str
    is_shared: bool
    query: str
    changed_ms: int


class CaseFilter(FrozenStruct, gc=False):
    """Filter for cases. Empty values and None match everything, but cases of the sample of approvals that wait: these
    are only found by their rule, entity, key, text or assignee.

    Args:
        assignees: Ids of those to whom it is assigned; an empty one for nobody.
        rule: A rule that raised one of its alerts.
        stake_from: In smallest units.
        due_before_ms: Those that are due before this moment.
        text: Is part of its key, its top reason or the id of one of its events.
        tag: With this tag.
        queues: Of these queues; an empty one for the default one.
        not_queues: Of none of these, but where `not_for` is the assignee.
        not_for: Second looks that this id may not take are left out.
        after: Only those with greater numbers: what opened since.
        soon_ms: In the order `urgent`, those that are due before this moment come first.
    """

    states: tuple[str, ...] = UNCLOSED
    entity: str = ""
    key: str = ""
    assignees: tuple[str, ...] = ()
    rule: str = ""
    stake_from: int | None = None
    due_before_ms: int | None = None
    text: str = ""
    customer: str = ""
    tag: str = ""
    queues: tuple[str, ...] = ()
    not_queues: tuple[str, ...] = ()
    not_for: str = ""
    after: int = 0
    soon_ms: int = 0


def words_of(words: Iterable[str]) -> str:
    """Words as a case keeps them, each once: with a space before and behind each."""
    kept = " ".join(dict.fromkeys(words))
    return f" {kept} " if kept else ""


URGENT_STAKE_MAX = 9 * 10**12  # so that money times score stays a whole number of 64 bits
URGENT_STEP = 10**13  # more than any money at risk


def urgency(case: Case, soon_ms: int) -> int:
    """Sort key of a case in the order `urgent`, the least first: due before that moment, then denied by its customer,
    then by the money at risk, which is its stake times its score (without a score all of it).
    """
    rank = 2 * (case.due_ms >= soon_ms) + (case.customer != FRAUD)
    score = SCORE_PARTS if case.score is None else case.score
    return rank * URGENT_STEP - min(case.stake or 0, URGENT_STAKE_MAX) * score // SCORE_PARTS


class Totals(FrozenStruct, gc=False):
    """Number of cases and their total amount at stake; None if no case has an amount.

    `oldest_ms` is the time of the first event of the oldest.
    """

    count: int
    stake: int | None
    oldest_ms: int | None = None


class CaseActivity(FrozenStruct, gc=False):
    """Activity since a moment: alerts that were decided, cases closed and opened."""

    answered: int
    closed: int
    opened: int


class Closer(FrozenStruct, gc=False):
    """Closed cases of one person: how many; and second looks, and how many of these agreed with the first.

    `answered` are the cases in which they answered, whoever closed them last.
    """

    name: str
    closed: int
    looks: int
    agreed: int
    answered: int = 0


class Agreement(FrozenStruct, gc=False):
    """Second looks: how many are waiting, how many were decided, and in how many both said the same.

    `disputed` are disagreements that wait for a third person.
    """

    waiting: int
    decided: int
    agreed: int
    disputed: int = 0

    @property
    def rate(self) -> float | None:
        """The share in which both agreed; None before there is one."""
        return self.agreed / self.decided if self.decided else None


def about_of(entity: str, key: str) -> bytes:
    """SHA-256 that identifies one key of an entity."""
    return hashlib.sha256(f"{entity}\x00{key}".encode("utf-8", "surrogatepass")).digest()


def least(value: int | None) -> int:
    """A score or an amount to order by; below all others where it is missing."""
    return -1 if value is None else value
