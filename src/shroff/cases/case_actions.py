"""Work on a case before it is decided: claim, release, assign, tag, move, note, attach, escalate, reopen; join cases of
a ring.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import reduce

from shroff.cases.alert_groups import recounted, recounted_values, with_alert
from shroff.cases.case import (
    CLAIMED,
    CLOSED,
    ESCALATED,
    FREED,
    OPEN,
    OPENED,
    SNOOZED,
    UNCLOSED,
    Alert,
    Attached,
    Case,
    CaseFilter,
    about_of,
    words_of,
)
from shroff.cases.case_history import ALL, past_of
from shroff.cases.case_service import (
    ANOTHER,
    CLOCK,
    CaseChangedError,
    CaseService,
    CaseTransaction,
    NoFileError,
    text_of,
)
from shroff.cases.files import checked_name, checked_type
from shroff.cases.filters import LARGEST
from shroff.cases.label_effects import settle_again
from shroff.cases.pending_changes import withdraw
from shroff.errors import UsageError, nearest
from shroff.json_types import JsonObject
from shroff.people.access import RIGHTS, Right, Who
from shroff.people.audit import Act
from shroff.people.sql import Change
from shroff.project.settings.casework import DEFAULT, TAG
from shroff.runtime.values import replace

FILES_MAX = 20  # per case
TAGS_MAX = 20
_CLAIMABLE = frozenset({OPEN, SNOOZED, ESCALATED})
# History entries about a rule that is silenced for the key of a case: silenced,
SILENCED = "silenced"
SILENCE_ENDED = "silence_ended"  # active again,
SILENCE_ASKED = "silence_asked"  # silencing requested from a second person,
SILENCE_DROPPED = "silence_dropped"  # request withdrawn


def claim(desk: CaseService, who: Who, number: int, tag: str = "") -> Case:
    """Claim a case; the user who holds it extends the lock.

    Raises: NotAllowedError; NoCaseError; CaseChangedError if somebody else has claimed or changed it; UsageError if the
    case needs another analyst, or only a team answers its queue.
    """
    with desk.changing(who) as hand:
        return claimed(hand, hand.open_case(number, tag), desk)


def claimed(hand: CaseTransaction, case: Case, desk: CaseService) -> Case:
    """Return the case, claimed by the caller until the lock expires, and store it."""
    until_ms = hand.now_ms + desk.settings.lock_ms
    if case.state == CLAIMED and case.assignee == hand.who.id:
        renewed = replace(case, lock_ms=until_ms)
        hand.change.put_cases([renewed])
        return renewed
    whose: JsonObject = {"assignee": hand.who.id, "assignee_name": hand.who.shown_name, "lock_ms": until_ms}
    return hand.put(case, "claimed", **whose, state=CLAIMED, snoozed_ms=None)


def claim_next(desk: CaseService, who: Who, filters: CaseFilter | None = None, order: str = "due") -> Case | None:
    """Claim the first matching case that is free or assigned to the user; None if there is none.

    Without states in the filter only open cases count, else the named states among open, snoozed and escalated.
    Concurrent calls never get the same case. Queues of other teams come last; queues that only their team answers are
    left out.
    """
    claimable = _claimable(filters or CaseFilter(), who)
    with desk.changing(who) as hand:
        free_lapsed(desk, hand)
        for other_queues in dict.fromkeys((desk.foreign(who), hand.closed)):
            if not claimable:
                continue
            matches = hand.change.queue(replace(claimable, not_queues=other_queues), order, limit=1)
            if matches:
                return claimed(hand, matches[0], desk)
        return None


def _claimable(filters: CaseFilter, who: Who) -> CaseFilter | None:
    """Narrow a filter to cases that the user could claim; None if there can be none."""
    requested_states = (OPEN,) if filters.states == UNCLOSED else filters.states
    states = tuple(state for state in requested_states if state in _CLAIMABLE)
    assignees = tuple(assignee for assignee in ("", who.id) if assignee in filters.assignees or not filters.assignees)
    return replace(filters, states=states, assignees=assignees, not_for=who.id) if states and assignees else None


def free_lapsed(desk: CaseService, hand: CaseTransaction) -> int:
    """Free cases whose lock or snooze expired, and those of users who may no longer work on cases; return their number.

    An escalated case becomes escalated again, and an assignment stays. An expired lock or snooze leaves the version
    unchanged, because no user acted. Afterwards labels that a claim held back settle the case.
    """
    lapsed = hand.change.lapsed(hand.now_ms)
    for case in lapsed:
        freed = replace(case, **past_of(hand.change, case).freed)
        hand.change.put_cases([freed])
        settle_again(desk, hand, freed)
    abandoned = hand.change.abandoned()  # read after the locks of lapsed cases were removed
    for case in abandoned:
        past = past_of(hand.change, case).given_back_by(case.assignee)
        reassigned = _given(replace(hand, who=CLOCK), case, past.assignee, past.assignee_name)
        settle_again(desk, hand, reassigned)
    return len(lapsed) + len(abandoned)


def release(desk: CaseService, who: Who, number: int, tag: str = "") -> Case:
    """Release a claimed case: an escalated one stays escalated, and one assigned to another user returns to that user.

    Raises: as `claim`; UsageError if the case is not claimed.
    """
    with desk.changing(who) as hand:
        case = hand.open_case(number, tag)
        if case.state != CLAIMED:
            raise UsageError(f"case {number} is {case.state}; only a claimed one can be given back.")
        freed = hand.put(case, "released", **past_of(hand.change, case).given_back_by(who.id).freed)
        return settle_again(desk, hand, freed)


def assign(desk: CaseService, who: Who, number: int, to: str, tag: str = "") -> Case:
    """Assign a case to a user by name, or to nobody if the name is empty.

    Raises: as `claim`; UsageError if there is no such user, or the user may not work on cases.
    """
    with desk.changing(who) as hand:
        case = hand.answerable(hand.case(number, tag))
        if not case.is_open:
            raise CaseChangedError(case)
        return _assigned(hand, case, to)


def _assigned(hand: CaseTransaction, case: Case, to: str) -> Case:
    id_, name = _assignee(hand.change.people, to)
    if case.is_barred(id_):
        raise UsageError(ANOTHER.format(case.number))
    return _given(hand, case, id_, name)


def _given(hand: CaseTransaction, case: Case, id_: str, name: str) -> Case:
    state = past_of(hand.change, case).state if case.state == CLAIMED else case.state
    return hand.put(case, "assigned", name, state=state, assignee=id_, assignee_name=name, lock_ms=None)


def _assignee(people: Change, to: str) -> tuple[str, str]:
    if not to:
        return "", ""
    user = people.user_named(to)
    if user is None or user.is_disabled or Right.WORK_CASES not in RIGHTS[user.role]:
        raise UsageError(f"there is no user {to[:100]!r} who may work on cases. 'shroff users list' shows all.")
    return user.id, user.display_name


def tag(desk: CaseService, who: Who, number: int, tags: str, seen: str = "") -> Case:
    """Replace the tags of a case; commas or blanks separate the new ones.

    Raises: NoCaseError; CaseChangedError by the version tag `seen`; UsageError for an invalid tag or too many.
    """
    new_tags = tags.replace(",", " ").lower().split()
    for text in new_tags:
        if not re.fullmatch(TAG.pattern, text):
            raise UsageError(f"{text[:50]!r} is not a tag: it has up to 40 of a to z, 0 to 9 and _ . : -")
    if len(new_tags) > TAGS_MAX:
        raise UsageError(f"a case has at most {TAGS_MAX} tags.")
    with desk.changing(who) as hand:
        return hand.put(hand.case(number, seen), "tagged", " ".join(new_tags), tags=words_of(new_tags))


def check(desk: CaseService, who: Who, number: int, item: str, seen: str = "", *, is_open: bool = False) -> Case:
    """Tick an item of a case's checklist, or with `is_open` untick it. Raises: as `claim`; UsageError for an unknown
    item.
    """
    with desk.changing(who) as hand:
        case = hand.open_case(number, seen)
        item_texts = {check.item: check.text for check in desk.settings.checklist(case.kinds, case.checks)}
        if item not in item_texts:
            raise UsageError(
                f"{item[:100]!r} is not on the checklist of case {number}. {nearest(item, item_texts)}".rstrip()
            )
        other_items = [name for name in case.checks.split() if name != item]
        checks = words_of(other_items if is_open else [*other_items, item])
        return hand.put(case, "unchecked" if is_open else "checked", item_texts[item], checks=checks)


def move(desk: CaseService, who: Who, number: int, queue: str, seen: str = "") -> Case:
    """Move a case to another queue, where labels may settle it. Raises: as `claim`; UsageError for an unknown queue."""
    if queue not in {DEFAULT, *desk.settings.queues}:
        raise UsageError(f"there is no queue {queue[:100]!r}. {nearest(queue, desk.settings.queues)}".rstrip())
    with desk.changing(who) as hand:
        moved = hand.put(hand.open_case(number, seen), "moved", queue, queue="" if queue == DEFAULT else queue)
        return settle_again(desk, hand, moved)


def note(desk: CaseService, who: Who, number: int, text: str) -> Case:
    """Add a note, also to a case claimed by somebody else. Raises: NoCaseError; UsageError for an empty or too long
    text.
    """
    stripped = text_of(text, "a note")
    with desk.changing(who) as hand:
        case = hand.case(number)
        hand.happened(number, "note", stripped)
        hand.change.people.audit(
            Act(who, "case.note", f"case {number}", None, {"characters": len(stripped)}), hand.now_ms
        )
        return case


def silenced(desk: CaseService, act: Act, number: int, text: str, what: str, seen: str = "") -> None:
    """Record in the history and the audit log that a rule's silence about this key changed: `what` is one of SILENCED,
    SILENCE_ENDED, SILENCE_ASKED and SILENCE_DROPPED.
    """
    with desk.changing(act.who) as hand:
        hand.case(number, seen)
        hand.happened(number, what, text)
        hand.change.people.audit(act, hand.now_ms)


def attach(desk: CaseService, who: Who, number: int, name: str, media_type: str, content: bytes) -> Attached:
    """Attach a file. Raises: NoCaseError; UsageError if type, size or number of files is not allowed."""
    kind = checked_type(media_type, content)
    name = checked_name(name, kind)
    digest = hashlib.sha256(content).digest()
    with desk.changing(who) as hand:
        hand.case(number)
        existing = hand.change.attached(number)
        if len(existing) >= FILES_MAX:
            raise UsageError(f"a case has at most {FILES_MAX} files.")
        attached = Attached(0, number, name, kind, len(content), digest, who.id, who.shown_name, hand.now_ms)
        attached = hand.change.attach(attached, content)
        details = {"file": attached.number, "bytes": attached.size, "sha256": digest.hex()}
        hand.happened(number, "attached", name, details)
        hand.change.people.audit(Act(who, "case.attach", f"case {number}", None, details), hand.now_ms)
        return attached


def file_of(desk: CaseService, who: Who, number: int, file: int) -> tuple[Attached, bytes]:
    """Return a file of a case and its content. Raises: NotAllowedError; NoFileError if the case has no such file."""
    with desk.looking(who) as look:
        attached = look.file(file)
    if attached is None or attached[0].case != number:
        raise NoFileError(f"case {number} has no file {file}.")
    return attached


def escalate(desk: CaseService, who: Who, number: int, why: str, tag: str = "", to: str = "") -> Case:
    """Escalate a case, optionally to a user by name; `claim_next` skips it unless its filter names the state.

    That user gets a mail if a case notification covers the newest event of the case, except for their own escalation.
    Raises: as `claim`; UsageError if there is no such user, or the user may not work on cases.
    """
    reason = text_of(why, "why it is escalated")
    with desk.escalations() as notes, desk.changing(who) as hand:
        case = hand.open_case(number, tag)
        case = hand.put(case, "escalated", reason, state=ESCALATED, **FREED, snoozed_ms=None)
        if not to:
            return case
        case = _assigned(hand, case, to)
        alerts = hand.change.alerts(number, 1)
        if notes is not None and case.assignee != who.id and alerts:
            why = f"Escalated to you by {who.shown_name}: {reason}"
            notes.escalated(hand.change.people, case=case, event=alerts[-1].named, why=why)
        return case


def reopen(desk: CaseService, who: Who, number: int, why: str, tag: str = "") -> Case:
    """Reopen a closed case; all of its alerts need an answer again. Written labels stay; answers that are still pending
    write no label for this case.

    A case opened about the same key in the meantime stays separate.
    Raises: as `claim`; UsageError if the case is not closed, or was joined to another one.
    """
    reason = text_of(why, "why it is reopened")
    with desk.changing(who) as hand:
        case = hand.answerable(hand.case(number, tag))
        if case.state != CLOSED:
            raise UsageError(f"case {number} is {case.state}; only a closed one can be reopened.")
        if not case.alerts:
            raise UsageError(f"{case.closed_name} has the events of case {number}; reopen that one.")
        withdraw(hand.change, number)
        alerts = cleared(hand, number)
        return hand.put(
            case, "reopened", reason, **OPENED, **recounted_values(case, alerts), look=0, first_by="", first_verdict=""
        )


def join(desk: CaseService, who: Who, entity: str, of: str, ring_of: Callable[[str], str | None]) -> int:
    """Join the open cases of each ring into one, and return the number of cases closed by that.

    A claimed case is preferred as the one that stays, then an escalated one, then the oldest; it becomes a case about
    the ring. The others close without a verdict. Further claimed or escalated cases, and those awaiting a second or
    third look, stay unchanged.

    Args:
        entity: Entity of rings. The key of a ring is its first member; cases under a former first member count.
        of: Entity of the members.
        ring_of: Returns the ring of a member, or None if it is in no ring.
    """
    closed = 0
    rings = dict[str, set[bytes]]()
    with desk.store.look() as reader:
        for name in {entity, of}:
            for case in reader.queue(CaseFilter(states=UNCLOSED, entity=name), limit=LARGEST):
                ring_key = ring_of(case.key) or (case.key if name == entity else "")
                if ring_key:
                    rings.setdefault(ring_key, set()).add(case.about)
    for key, abouts in rings.items():
        ring = about_of(entity, key)
        if abouts == {ring}:
            continue
        with desk.store.change() as change:
            hand = CaseTransaction(change, who, desk.now_ms())
            members = [case for case in change.open_about(abouts).values() if not case.look]
            members.sort(key=lambda case: (case.state != CLAIMED, case.state != ESCALATED, case.number))
            closing = [case for case in members[1:] if case.state not in {CLAIMED, ESCALATED}]
            if not closing and all(case.about == ring for case in members[:1]):
                continue
            first = members[0]
            moved = [replace(alert, case=first.number) for case in closing for alert in change.alerts(case.number, ALL)]
            change.put_alerts(moved)
            joined = recounted(reduce(with_alert, moved, first), change.alerts(first.number, ALL))
            case_names = ", ".join(f"case {case.number}" for case in closing)
            hand.put(joined, "joined", case_names, about=ring, entity=entity, key=key)
            ended = {**FREED, "state": CLOSED, "snoozed_ms": None, "closed_ms": hand.now_ms, "alerts": 0, "stake": None}
            for case in closing:
                hand.put(case, "joined", f"case {first.number}", **ended, closed_name=f"case {first.number}")
            closed += len(closing)
    return closed


def cleared(hand: CaseTransaction, number: int) -> list[Alert]:
    alerts = [replace(alert, verdict="") for alert in hand.change.alerts(number, ALL)]
    hand.change.put_alerts(alerts)
    return alerts
