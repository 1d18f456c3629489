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
# The values of `Case.look`.
SECOND, DONE, DISPUTED, RESOLVED = 1, 2, 3, 4
CHECKED = "+sample"  # suffix of a closing rule's mark in `Case.auto_close`: people check this case
ORDERS = ("due", "urgent", "stake", "score", "newest")
Cursor = tuple[int, int]  # value of the sort column and number of the last case on the previous page
THE_CUSTOMER = "the customer"  # `changed_name` of a case whose event a customer denied
SAMPLE = "Sample of approvals"  # reason of cases opened for sampled approvals, and the name of their view
SCORE_PARTS = 1_000_000  # scores are stored in millionths, because they have six decimals
FREED: Final[JsonMapping] = MappingProxyType({"assignee": "", "assignee_name": "", "lock_ms": None})
OPENED: Final[JsonMapping] = MappingProxyType(
    {"state": OPEN, **FREED, "snoozed_ms": None, "verdict": "", "closed_ms": None, "closed_by": "", "closed_name": ""}
)


class Alert(FrozenStruct, gc=False):
    """One event that needs review, about one entity. Sequence number and entity identify it.

    Args:
        seq: Sequence number of its event; of the label, if the alert was raised by a customer's denial.
        event: Type of the event; `id` is the event's id.
        outcome: Outcome of the decision; empty if events of this type are not decided.
        rule: Rule behind the top reason; empty if the score or a customer's answer raised the alert.
        stake: Amount of the event in smallest units; None if it has none.
        due_ms: Deadline for the answer.
        verdict: Answer of an analyst; empty until there is one.
        label: Active verdict about the event, from any source, with that source and the time it became known.
        customer: Answer of the customer, as a verdict; empty until there is one.
        queue: Queue for a case that this alert opens; empty for the default queue.
        auto_close: Mark of the first closing rule that matches the event; empty if none does.
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
        """Hash of entity and key, which may be long."""
        return about_of(self.entity, self.key)

    @property
    def place(self) -> tuple[int, str]:
        return self.seq, self.entity

    @property
    def at_stake(self) -> int | None:
        """Amount at risk: None for an approved payment, unless its customer denies it."""
        return None if self.outcome == "approve" and self.customer != FRAUD else self.stake

    @property
    def named(self) -> str:
        """The event in the form that labels use, such as `payment/p-1`."""
        return f"{self.event}/{self.id}"


class Case(FrozenStruct, gc=False):
    """Alerts about one key of an entity, under review together.

    Args:
        opened_ms: Time of its earliest event, so that the same log always makes the same cases.
        due_ms: Earliest deadline of its open alerts.
        lock_ms: End of the lock of the analyst who claimed it.
        score: Highest score among its open alerts, else among all, in millionths.
        rule: Rule of the top reason, from the alert with the strongest outcome and then the highest score.
        stake: Sum at stake in its open alerts; None if none has an amount.
        last_seq: Sequence number of its newest alert.
        version: Grows with each change that a person makes or causes; new alerts leave it as it is.
        verdict: Final verdict; empty while the case is open.
        look: 0 without a second look; SECOND while another analyst must decide again, DONE after that; DISPUTED while a
            third person must choose between two different answers, RESOLVED after that.
        first_by: Analyst whose answer is checked; for an API key also the user who created it; in a dispute both
            analysts; separated by spaces. `first_verdict` belongs to the first.
        customer: Customers' answer about its events, as a verdict: fraud if any event is denied, else the last answer.
        tags: Tags set by people, each between spaces. `checks` lists the ticked items of the checklist in the same
            form.
        queue: Queue of the alert that opened it, until somebody moves the case; empty for the default queue.
        auto_close: Mark of the closing rule that matches all of its alerts, followed by CHECKED if the case is in the
            rule's sample; else empty.
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
        """Version tag: version and newest alert, as the user saw them. Clients send it back with each action."""
        return f"{self.version}.{self.last_seq}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Entity, queue and rule of the case, by which checklists are chosen."""
        return self.entity, self.queue or DEFAULT, self.rule

    @property
    def is_open(self) -> bool:
        return self.state != CLOSED

    @property
    def is_untouched(self) -> bool:
        return not (self.changed_by or self.changed_name)

    @property
    def is_denied_last(self) -> bool:
        """Whether the last change is that a customer denied one of the case's events."""
        return not self.changed_by and self.changed_name == THE_CUSTOMER

    def is_barred(self, who: str) -> bool:
        """Whether the case needs the answer of somebody other than `who`. API keys are always barred, because the user
        who created a key may have answered already.
        """
        return self.look in {SECOND, DISPUTED} and (who in self.first_by.split(" ") or who.startswith("key-"))

    def is_held_by_another(self, who: str, now_ms: int) -> bool:
        """Whether somebody else has claimed the case and the lock has not expired."""
        return self.state == CLAIMED and self.assignee != who and self.lock_ms is not None and self.lock_ms > now_ms


# History entries whose `words` a person wrote.
WRITTEN = ("note", "escalated", "reopened", "silenced", "silence_asked")


class Happened(FrozenStruct, gc=False):
    """An entry of a case's history. `words` is text for people, `more` is JSON with the changed values."""

    number: int
    case: int
    at_ms: int
    who: str
    name: str
    what: str
    words: str = ""
    more: str = "{}"


class Pending(FrozenStruct, gc=False):
    """A recent action that can be undone: a decision whose labels are not written yet, a snooze, a claim.

    `body` is a stored `pending_changes.Body`. `who_kind` and `role` restore the caller when the action becomes due.
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
    """A file attached to a case. `sha256` is the hash of its content."""

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
    """A named filter of a user, private or shared with all. `query` is the filter's query string."""

    owner: str
    owner_name: str
    name: str
    is_shared: bool
    query: str
    changed_ms: int


class CaseFilter(FrozenStruct, gc=False):
    """Filter for cases. Empty values and None match everything, with one exception: waiting cases of sampled approvals
    match only a filter with a rule, entity, key, text or assignee.

    Args:
        assignees: Ids of assignees; an empty one matches unassigned cases.
        rule: Rule that raised at least one alert of the case.
        stake_from: Least stake, in smallest units.
        due_before_ms: Deadline before this time.
        text: Part of the key, of the top reason or of the id of an event.
        tag: Tag of the case.
        queues: Names of queues; an empty one is the default queue.
        not_queues: Queues to leave out, except for cases assigned to `not_for`.
        not_for: Leave out second looks that the user or key with this id may not take.
        after: Only case numbers above this one, which opened later.
        soon_ms: In the order `urgent`, cases due before this time come first.
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
    """Join words, each once, to the stored form with a space before and after each word."""
    joined = " ".join(dict.fromkeys(words))
    return f" {joined} " if joined else ""


URGENT_STAKE_MAX = 9 * 10**12  # keeps stake times score below 2**63
URGENT_STEP = 10**13  # exceeds any amount at risk


def urgency(case: Case, soon_ms: int) -> int:
    """Return the sort key of a case in the order `urgent`; the lowest comes first.

    Cases due before `soon_ms` come first, then those denied by their customer, then by the amount at risk: stake times
    score, or the whole stake without a score.
    """
    rank = 2 * (case.due_ms >= soon_ms) + (case.customer != FRAUD)
    score = SCORE_PARTS if case.score is None else case.score
    return rank * URGENT_STEP - min(case.stake or 0, URGENT_STAKE_MAX) * score // SCORE_PARTS


class Totals(FrozenStruct, gc=False):
    """Number of cases and their total stake; the stake is None if no case has an amount.

    `oldest_ms` is the time of the earliest event of any of them.
    """

    count: int
    stake: int | None
    oldest_ms: int | None = None


class CaseActivity(FrozenStruct, gc=False):
    """Counts since a moment: decided alerts, closed cases, opened cases."""

    answered: int
    closed: int
    opened: int


class Closer(FrozenStruct, gc=False):
    """Closed cases of one analyst, with second looks and how many of these agreed with the first answer.

    `answered` counts the cases in which the analyst decided, whoever closed them.
    """

    name: str
    closed: int
    looks: int
    agreed: int
    answered: int = 0


class Agreement(FrozenStruct, gc=False):
    """Second looks: how many are pending, how many are decided, and in how many both analysts agreed.

    `disputed` counts disagreements that wait for a third person.
    """

    waiting: int
    decided: int
    agreed: int
    disputed: int = 0

    @property
    def rate(self) -> float | None:
        """Share of second looks in which both agreed; None before the first."""
        return self.agreed / self.decided if self.decided else None


def about_of(entity: str, key: str) -> bytes:
    """Return the SHA-256 that identifies one key of an entity."""
    return hashlib.sha256(f"{entity}\x00{key}".encode("utf-8", "surrogatepass")).digest()


def least(value: int | None) -> int:
    """Return a sort value for a score or an amount, which ranks a missing one lowest."""
    return -1 if value is None else value
