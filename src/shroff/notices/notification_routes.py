"""Notification routing: recipients, digests, delays, and questions that are asked once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.notices.customer_answers import ID_BYTES
from shroff.notices.definitions import RECEIPT, Notice, Quiet
from shroff.notices.facts import Facts, NoticeEvent
from shroff.notices.services import NoticeServices
from shroff.notices.store import DROPPED, NO_ONE, PASSED, REFUSED, WAITING, Due, OutgoingMessage, Question
from shroff.people.addresses import masked, who_of
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeChange, NoticeLook, NoticeStore

NOBODY = "no recipient is named"
NO_ADDRESS = "the recipient is not one plain mail address, or contains a card number"
AT_ONCE = 10_000  # notifications of one notice that become letters at once; also the limit of a digest
# Limit of a digest to recipients from events: enough for a day, or some would get two mails
OF_CUSTOMERS_AT_ONCE = 200_000
PART = 500  # notifications read, held or passed at once
_made = count()
# Letters made in one transaction, during which nothing is appended to the log
TOGETHER = 100


class _Addressed(FrozenStruct):
    """A due notification with its recipients, and its event if that names them."""

    due: Due
    told: NoticeEvent | None
    addresses: tuple[str, ...]
    why_nobody: str = NOBODY
    is_wanted: bool = True


def plan(services: NoticeServices, facts: Facts, store: NoticeStore, log: Log, now_ms: int) -> int:
    """Make letters of due notifications; return their number. Each letter is made in one transaction."""
    by_notice: dict[str, list[Due]] = {}
    with store.look() as look:
        for due in look.dues(now_ms):
            by_notice.setdefault(due.notice, []).append(due)
    digests = {name for name, notice in services.notices.items() if notice.digest_ms}
    made = 0
    for name in sorted(by_notice, key=lambda name: name in digests):  # a large digest delays no other notice
        notice = services.notices.get(name)
        dues = by_notice[name]
        if notice is None:
            _take(store, dues, PASSED)
        elif (end_ms := None if notice.quiet is None else quiet_end_ms(notice.quiet, now_ms)) is not None:
            _hold(store, dues, end_ms)
        else:
            with store.look() as look:
                dues = _together(notice, look, dues, now_ms)
            recipients_of_dues = [
                addressed for part in _parts(dues) for addressed in _addressed(services, facts, notice, part, log)
            ]
            made += _letters(services, notice, store, recipients_of_dues, now_ms)
    return made


def _together(notice: Notice, look: NoticeLook, dues: list[Due], now_ms: int) -> list[Due]:
    """Return the notifications that leave together: of a digest all that wait, unless an interrupted digest is
    continued.
    """
    if not notice.digest_ms and not any(due.is_held for due in dues):
        return dues
    is_of_customers = bool(notice.digest_ms) and notice.to.of_event is not None
    waiting = look.waiting(notice.name, OF_CUSTOMERS_AT_ONCE if is_of_customers else AT_ONCE)
    is_begun = is_of_customers and max(due.due_ms for due in dues) <= look.last_made_ms(notice.name)
    return [due for due in waiting if due.due_ms <= now_ms] if is_begun or not notice.digest_ms else waiting


def _letters(
    services: NoticeServices, notice: Notice, store: NoticeStore, found: Sequence[_Addressed], now_ms: int
) -> int:
    _take(store, [addressed.due for addressed in found if not addressed.is_wanted], PASSED)
    groups = _groups(notice, [addressed for addressed in found if addressed.is_wanted])
    # Stored before the first mail, so that after a kill the rest of the digest is known
    if len(groups) > TOGETHER:
        _hold(store, [addressed.due for addressed in found if addressed.due.due_ms > now_ms], now_ms)
    letter_count = 0
    for at in range(0, len(groups), TOGETHER):
        with store.change() as change:
            letter_count += _NoticeLetters(services, notice, change, now_ms).letters(groups[at : at + TOGETHER])
    return letter_count


def _take(store: NoticeStore, dues: Sequence[Due], letter: str) -> None:
    for part in _parts(dues):
        with store.change() as change:
            change.take([due.key for due in part], letter)


def _hold(store: NoticeStore, dues: Sequence[Due], due_ms: int) -> None:
    for part in _parts(dues):
        with store.change() as change:
            change.hold([due.key for due in part], due_ms)


def _parts(dues: Sequence[Due]) -> Iterator[Sequence[Due]]:
    return (dues[at : at + PART] for at in range(0, len(dues), PART))


def _addressed(
    services: NoticeServices, facts: Facts, notice: Notice, dues: Sequence[Due], log: Log
) -> Iterator[_Addressed]:
    is_read = notice.asks or notice.to.of_event is not None
    events = facts.told_all(log, [due.event for due in dues]) if is_read else {}
    for due in dues:
        event_facts = events.get(due.event)
        is_said = notice.to.of_event is not None and bool(facts.said(notice.to.of_event, event_facts))
        addresses = addresses_of(services, facts, notice, event_facts, due)
        why = NO_ADDRESS if is_said else NOBODY
        # Without those who opted out
        is_wanted = event_facts is None or notice.text_kind != RECEIPT or facts.holds(notice, event_facts)
        yield _Addressed(due, event_facts if notice.asks else None, addresses, why, is_wanted)


def addresses_of(
    services: NoticeServices, facts: Facts, notice: Notice, told: NoticeEvent | None, due: Due | None = None
) -> tuple[str, ...]:
    """Return the recipients of a notice about an event; for an escalation, the user to whom the case went."""
    if notice.channel != "mail":
        return ()
    if due is not None and due.kind == "case" and (user := from_json(due.told).get("user")):
        return tuple(services.users(user))
    if notice.to.role:
        return tuple(services.users(notice.to.role))
    if notice.to.of_event is not None:
        address = facts.address(notice, told)
        return (address,) if address else ()
    return notice.to.addresses


def _groups(notice: Notice, found: Iterable[_Addressed]) -> list[list[_Addressed]]:
    """Group notifications into letters: a digest by recipient; deferred ones by recipient and rule; otherwise each
    alone.
    """
    groups: dict[tuple[object, ...], list[_Addressed]] = {}
    for addressed in found:
        if notice.asks or notice.channel != "mail":
            key: tuple[object, ...] = (addressed.due.key,)
        elif notice.digest_ms:
            key = (addressed.addresses,)
        else:
            key = (addressed.addresses, addressed.due.rule) if addressed.due.is_held else (addressed.due.key,)
        groups.setdefault(key, []).append(addressed)
    return list(groups.values())


class _NoticeLetters:
    """Makes the letters of one notice in one transaction."""

    def __init__(self, services: NoticeServices, notice: Notice, change: NoticeChange, now_ms: int) -> None:
        self._services = services
        self._notice = notice
        self._change = change
        self._now_ms = now_ms
        self._made: list[tuple[OutgoingMessage, Sequence[str]]] = []  # not in the store yet

    def letters(self, groups: Sequence[Sequence[_Addressed]]) -> int:
        current = self._change.dues_of([addressed.due.key for group in groups for addressed in group])
        waiting = {key for key, due in current.items() if due.letter == WAITING}
        pending_groups = [[addressed for addressed in group if addressed.due.key in waiting] for group in groups]
        letter_count = sum(self._letter(group) for group in pending_groups if group)
        self._store()
        return letter_count

    def _letter(self, group: Sequence[_Addressed]) -> int:
        notice = self._notice
        now_ms = self._now_ms
        first = group[0]
        keys = [addressed.due.key for addressed in group]
        rule = "" if notice.digest_ms else first.due.rule  # the limit of a digest covers all rules
        is_mail = notice.channel == "mail"
        who = who_of(self._services.key, first.addresses) if is_mail else NO_ONE
        shown = ", ".join(map(masked, first.addresses[:3])) if is_mail else notice.recipient
        due_ms = min(first.due.due_ms, now_ms)  # letters of one batch leave in the order of their dues
        # Ids of one process ascend in the order in which letters are made, and letters leave in that order
        letter = OutgoingMessage(
            f"{now_ms:012x}{next(_made) & 0xFFFFFF:06x}{secrets.token_hex(3)}",
            notice.name,
            rule,
            who,
            now_ms,
            due_ms,
            to_json(keys).decode(),
            shown=shown,
        )
        if is_mail and not first.addresses:
            return self._drop(letter, keys, first.why_nobody)
        if notice.asks and self._is_asked(first.due.event):
            return self._drop(letter, keys, f"{first.due.event}: the customer was asked about it already")
        free_ms = self._free_ms(rule, who)
        if free_ms > now_ms and notice.asks:
            words = f"{first.due.event}: the limit of this notice was reached, so nobody was asked"
            return self._drop(letter, keys, words)
        if free_ms > now_ms:
            self._change.hold(keys, free_ms)
            return 0
        self._made.append((letter, keys))
        if notice.asks and first.told is not None:
            id_ = secrets.token_hex(ID_BYTES)
            ends_ms = now_ms + notice.lasts_ms
            told = first.told
            question = Question(id_, letter.id, notice.name, told.name, told.receipt, who, now_ms, ends_ms)
            self._change.put_question(question)
        return 1

    def _drop(self, letter: OutgoingMessage, keys: Sequence[str], reason: str) -> int:
        """Store a letter that nobody gets, with the reason; return 0, the number of letters to send."""
        self._made.append((replace(letter, state=DROPPED, done_ms=self._now_ms, reason=reason), keys))
        return 0

    def _is_asked(self, event: str) -> bool:
        """Whether a customer has a link about an event, or will get one: a second link would allow a second answer."""
        self._store()
        letters = (self._change.letter(question.letter) for question in self._change.questions_about([event]))
        return any(letter is None or letter.state not in (DROPPED, REFUSED) for letter in letters)

    def _store(self) -> None:
        """Store the letters made so far, before they are queried."""
        if self._made:
            self._change.put_letters([letter for letter, _ in self._made])
            self._change.take_each([(key, letter.id) for letter, keys in self._made for key in keys])
            self._made = []

    def _free_ms(self, rule: str, who: bytes) -> int:
        """Return the time from which the recipients may be notified of this rule again; 0 for now."""
        limit = self._notice.limit
        if limit is None:
            return 0
        self._store()
        sent = self._change.sent_since(self._notice.name, rule, who, self._now_ms - limit.per_ms)
        return sent[len(sent) - limit.count] + limit.per_ms if len(sent) >= limit.count else 0


def quiet_end_ms(quiet: Quiet, now_ms: int) -> int | None:
    """Return the end of the quiet hours that include `now_ms`, else None. Whole minutes, by the clock of their time
    zone.
    """
    zone = ZoneInfo(quiet.zone)
    now = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone)
    minute = now.hour * 60 + now.minute
    is_over_midnight = quiet.end <= quiet.start
    is_in = minute >= quiet.start or minute < quiet.end if is_over_midnight else quiet.start <= minute < quiet.end
    if not is_in:
        return None
    day = now.date() + timedelta(days=1 if is_over_midnight and minute >= quiet.start else 0)
    end = datetime(day.year, day.month, day.day, quiet.end // 60, quiet.end % 60, tzinfo=zone)
    end_ms = round(end.timestamp() * 1_000)
    # When clocks are set back, the end occurs twice
    return end_ms if end_ms > now_ms else round(end.replace(fold=1).timestamp() * 1_000)


def keys_of(letter: OutgoingMessage) -> list[str]:
    """Return the keys of a letter's notifications."""
    return from_json(letter.dues, type=list[str])
