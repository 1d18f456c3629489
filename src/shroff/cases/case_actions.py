"""Work on a case before it is decided: claim, release, assign, note, attach, escalate, reopen, join those of a ring."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import reduce

from shroff.cases.alert_groups import recounted, with_alert
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

FILES_MAX = 20  # of one case
TAGS_MAX = 20
_CLAIMABLE = frozenset({OPEN, SNOOZED, ESCALATED})
SILENCED = "silenced"  # what happened to a case for whom a rule is silent,
SILENCE_ENDED = "silence_ended"  # speaks again,
SILENCE_ASKED = "silence_asked"  # is to be silent, if a second person approves it,
SILENCE_DROPPED = "silence_dropped"  # or is not, since somebody took that back


def claim(desk: CaseService, who: Who, number: int, tag: str = "") -> Case:
    """Claim a case; a claim by its owner extends the lock.

    Raises: NotAllowedError; NoCaseError; CaseChangedError where somebody else has it or decided it.
    """
    with desk.changing(who) as hand:
        return claimed(hand, hand.open_case(number, tag), desk)


def claimed(hand: CaseTransaction, case: Case, desk: CaseService) -> Case:
    """A case that somebody has now, for as long as the lock holds."""
    until_ms = hand.now_ms + desk.settings.lock_ms
    if case.state == CLAIMED and case.assignee == hand.who.id:
        renewed = replace(case, lock_ms=until_ms)
        hand.change.put_cases([renewed])
        return renewed
    whose: JsonObject = {"assignee": hand.who.id, "assignee_name": hand.who.shown_name, "lock_ms": until_ms}
    return hand.put(case, "claimed", **whose, state=CLAIMED, snoozed_ms=None)


def claim_next(desk: CaseService, who: Who, wanted: CaseFilter | None = None, order: str = "due") -> Case | None:
    """Claim the first case of a filter that is free or assigned to the user.

    Those are open ones, and where the filter names states those of them that can be claimed: open, snoozed, escalated.
    Two who ask at once never get the same. Cases of other teams' queues come last, those that only their teams answer
    never. None where there is none.
    """
    asked = _claimable(wanted or CaseFilter(), who)
    with desk.changing(who) as hand:
        free_lapsed(desk, hand)
        for others in dict.fromkeys((desk.foreign(who), hand.closed)):
            if asked and (found := hand.change.queue(replace(asked, not_queues=others), order, limit=1)):
                return claimed(hand, found[0], desk)
        return None


def _claimable(wanted: CaseFilter, who: Who) -> CaseFilter | None:
    """Cases of a filter that can be claimed next; None if there can be none."""
    named = (OPEN,) if wanted.states == UNCLOSED else wanted.states
    states = tuple(state for state in named if state in _CLAIMABLE)
    assignees = tuple(assignee for assignee in ("", who.id) if assignee in wanted.assignees or not wanted.assignees)
    return replace(wanted, states=states, assignees=assignees, not_for=who.id) if states and assignees else None


def free_lapsed(desk: CaseService, hand: CaseTransaction) -> int:
    """Reopen cases whose lock or snooze has expired, and take cases from users who may not work on them any more.

    What was escalated is so again, and what was assigned to somebody is theirs still. The end of a lock or a snooze
    leaves the version as it is: no user did it. Labels that a claim kept waiting settle the case then.
    """
    lapsed = hand.change.lapsed(hand.now_ms)
    for case in lapsed:
        freed = replace(case, **past_of(hand.change, case).freed)
        hand.change.put_cases([freed])
        settle_again(desk, hand, freed)
    abandoned = hand.change.abandoned()  # as they are without their locks
    for case in abandoned:
        past = past_of(hand.change, case).given_back_by(case.assignee)
        given = _given(replace(hand, who=CLOCK), case, past.assignee, past.assignee_name)
        settle_again(desk, hand, given)
    return len(lapsed) + len(abandoned)


def release(desk: CaseService, who: Who, number: int, tag: str = "") -> Case:
    """Give a case back: one that was escalated to those who decide what is hard, one that was assigned to another to
    them. Raises: as `claim`; UsageError where nobody has claimed it.
    """
    with desk.changing(who) as hand:
        case = hand.open_case(number, tag)
        if case.state != CLAIMED:
            raise UsageError(f"case {number} is {case.state}; only a claimed one can be given back.")
        freed = hand.put(case, "released", **past_of(hand.change, case).given_back_by(who.id).freed)
        return settle_again(desk, hand, freed)


def assign(desk: CaseService, who: Who, number: int, to: str, tag: str = "") -> Case:
    """Give a case to a user by name, or to nobody by an empty one. They need not claim it before they see it.

    Raises: as `claim`; UsageError where there is no such user, or they may not work on cases.
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
    """A case that is now assigned to somebody, or to nobody by an empty id."""
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
    """Give a case these tags, with commas or blanks between them, in place of those that it has.

    Raises: NoCaseError, CaseChangedError by the tag of the version `seen`; UsageError for what is no tag.
    """
    given = tags.replace(",", " ").lower().split()
    for text in given:
        if not re.fullmatch(TAG.pattern, text):
            raise UsageError(f"{text[:50]!r} is not a tag: it has up to 40 of a to z, 0 to 9 and _ . : -")
    if len(given) > TAGS_MAX:
        raise UsageError(f"a case has at most {TAGS_MAX} tags.")
    with desk.changing(who) as hand:
        return hand.put(hand.case(number, seen), "tagged", " ".join(given), tags=words_of(given))


def check(desk: CaseService, who: Who, number: int, item: str, seen: str = "", *, is_open: bool = False) -> Case:
    """Tick an item of the checklist of a case, or open it again. Raises: as `claim`; UsageError for an unknown one."""
    with desk.changing(who) as hand:
        case = hand.open_case(number, seen)
        known = {check.item: check.text for check in desk.settings.checklist(case.kinds, case.checks)}
        if item not in known:
            raise UsageError(
                f"{item[:100]!r} is not on the checklist of case {number}. {nearest(item, known)}".rstrip()
            )
        others = [name for name in case.checks.split() if name != item]
        checks = words_of(others if is_open else [*others, item])
        return hand.put(case, "unchecked" if is_open else "checked", known[item], checks=checks)


def move(desk: CaseService, who: Who, number: int, queue: str, seen: str = "") -> Case:
    """Move a case to another queue, where labels may settle it. Raises: as `claim`; UsageError without such a queue."""
    if queue not in {DEFAULT, *desk.settings.queues}:
        raise UsageError(f"there is no queue {queue[:100]!r}. {nearest(queue, desk.settings.queues)}".rstrip())
    with desk.changing(who) as hand:
        moved = hand.put(hand.open_case(number, seen), "moved", queue, queue="" if queue == DEFAULT else queue)
        return settle_again(desk, hand, moved)


def note(desk: CaseService, who: Who, number: int, text: str) -> Case:
    """Add a note; the case may belong to another analyst. Raises: NoCaseError; UsageError for an empty text."""
    words = text_of(text, "a note")
    with desk.changing(who) as hand:
        case = hand.case(number)
        hand.happened(number, "note", words)
        hand.change.people.audit(Act(who, "case.note", f"case {number}", None, {"characters": len(words)}), hand.now_ms)
        return case


def silenced(desk: CaseService, act: Act, number: int, words: str, what: str, seen: str = "") -> None:
    """Write down, in a case and in the record, what becomes of a rule's being silent for whom the case is about."""
    with desk.changing(act.who) as hand:
        hand.case(number, seen)
        hand.happened(number, what, words)
        hand.change.people.audit(act, hand.now_ms)


def attach(desk: CaseService, who: Who, number: int, name: str, media_type: str, content: bytes) -> Attached:
    """Add a file. Raises: NoCaseError; UsageError where its kind, size or number will not do."""
    kind = checked_type(media_type, content)
    name = checked_name(name, kind)
    digest = hashlib.sha256(content).digest()
    with desk.changing(who) as hand:
        hand.case(number)
        there = hand.change.attached(number)
        if len(there) >= FILES_MAX:
            raise UsageError(f"a case has at most {FILES_MAX} files.")
        made = Attached(0, number, name, kind, len(content), digest, who.id, who.shown_name, hand.now_ms)
        made = hand.change.attach(made, content)
        told = {"file": made.number, "bytes": made.size, "sha256": digest.hex()}
        hand.happened(number, "attached", name, told)
        hand.change.people.audit(Act(who, "case.attach", f"case {number}", None, told), hand.now_ms)
        return made


def file_of(desk: CaseService, who: Who, number: int, file: int) -> tuple[Attached, bytes]:
    """A file of a case. Raises: NotAllowedError; NoFileError where the case has none of this number."""
    with desk.looking(who) as look:
        found = look.file(file)
    if found is None or found[0].case != number:
        raise NoFileError(f"case {number} has no file {file}.")
    return found


def escalate(desk: CaseService, who: Who, number: int, why: str, tag: str = "", to: str = "") -> Case:
    """Escalate a case, to a user by name where one is given; claim-next skips it unless such cases are requested.

    That user gets a mail, by the first notice on cases that tells of its newest event, unless they escalate it
    themselves.
    Raises: as `claim`; UsageError where there is no such user, or they may not work on cases.
    """
    words = text_of(why, "why it is escalated")
    with desk.escalations() as notes, desk.changing(who) as hand:
        case = hand.open_case(number, tag)
        case = hand.put(case, "escalated", words, state=ESCALATED, **FREED, snoozed_ms=None)
        if not to:
            return case
        case = _assigned(hand, case, to)
        alerts = hand.change.alerts(number, 1)
        if notes is not None and case.assignee != who.id and alerts:
            why = f"Escalated to you by {who.shown_name}: {words}"
            notes.escalated(hand.change.people, case=case, event=alerts[-1].named, why=why)
        return case


def reopen(desk: CaseService, who: Who, number: int, why: str, tag: str = "") -> Case:
    """Open a closed case again: its alerts want an answer once more. Labels that were written stay until then;
    answers whose labels are not written yet write none for this case.

    A case that was opened about the same key meanwhile stays beside it.
    Raises: as `claim`; UsageError where it is not closed, or was joined to another one.
    """
    words = text_of(why, "why it is reopened")
    with desk.changing(who) as hand:
        case = hand.answerable(hand.case(number, tag))
        if case.state != CLOSED:
            raise UsageError(f"case {number} is {case.state}; only a closed one can be reopened.")
        if not case.alerts:
            raise UsageError(f"{case.closed_name} has the events of case {number}; reopen that one.")
        withdraw(hand.change, number)
        alerts = cleared(hand, number)
        again = recounted(case, alerts)
        return hand.put(
            case,
            "reopened",
            words,
            **OPENED,
            stake=again.stake,
            due_ms=again.due_ms,
            look=0,
            first_by="",
            first_verdict="",
        )


def join(desk: CaseService, who: Who, entity: str, of: str, ring_of: Callable[[str], str | None]) -> int:
    """Bring the open cases about keys of each ring together in the oldest of them; gives how many closed for that.

    It is about the ring from then on; a claimed one comes before others, then an escalated one. Those close without a
    verdict. As they are stay further claimed or escalated cases and those that wait for a second or a third answer.

    Args:
        entity: That of rings, each of which is called by its first key; cases about rings of other first keys count.
        of: That of their keys.
        ring_of: The ring of a key, None for a key that is in none.
    """
    closed = 0
    rings = dict[str, set[bytes]]()
    with desk.store.look() as look:
        for name in {entity, of}:
            for case in look.queue(CaseFilter(states=UNCLOSED, entity=name), limit=LARGEST):
                if called := ring_of(case.key) or (case.key if name == entity else ""):
                    rings.setdefault(called, set()).add(case.about)
    for key, abouts in rings.items():
        ring = about_of(entity, key)
        if abouts == {ring}:
            continue
        with desk.store.change() as change:
            hand = CaseTransaction(change, who, desk.now_ms())
            found = [case for case in change.open_about(abouts).values() if not case.look]
            found.sort(key=lambda case: (case.state != CLAIMED, case.state != ESCALATED, case.number))
            others = [case for case in found[1:] if case.state not in {CLAIMED, ESCALATED}]
            if not others and all(case.about == ring for case in found[:1]):
                continue
            first = found[0]
            taken = [replace(alert, case=first.number) for case in others for alert in change.alerts(case.number, ALL)]
            change.put_alerts(taken)
            whole = recounted(reduce(with_alert, taken, first), change.alerts(first.number, ALL))
            words = ", ".join(f"case {case.number}" for case in others)
            hand.put(whole, "joined", words, about=ring, entity=entity, key=key)
            ended = {**FREED, "state": CLOSED, "snoozed_ms": None, "closed_ms": hand.now_ms, "alerts": 0, "stake": None}
            for case in others:
                hand.put(case, "joined", f"case {first.number}", **ended, closed_name=f"case {first.number}")
            closed += len(others)
    return closed


def cleared(hand: CaseTransaction, number: int) -> list[Alert]:
    """The alerts of a case, which want an answer again."""
    alerts = [replace(alert, verdict="") for alert in hand.change.alerts(number, ALL)]
    hand.change.put_alerts(alerts)
    return alerts
