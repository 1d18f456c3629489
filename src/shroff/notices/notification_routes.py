"""Make letters of due notifications: choose recipients, form digests, defer, and ask each customer only once.

The notification worker calls `plan` in a loop; a mail is sent later, from the stored letter.
"""

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
    from shroff.notices.sql import NoticeChange, NoticeQueries, NoticeStore

NOBODY = "no recipient is named"
NO_ADDRESS = "the recipient is not one plain mail address, or contains a card number"
DIGEST_SIZE_MAX = 10_000  # notifications of one notice that become letters in one call of `plan`
# Limit of a digest whose recipients come from events. With fewer than a day has, some customers would get two mails.
CUSTOMER_DIGEST_SIZE_MAX = 200_000
DUES_PER_TRANSACTION = 500  # notifications read, deferred or assigned in one transaction
LETTERS_PER_TRANSACTION = 100  # few, as nothing is appended to the log meanwhile
_letter_numbers = count()


class _Addressed(FrozenStruct):
    """A due notification with its recipients.

    Args:
        event: The event, for a notice that asks its customer; else None.
        reason: Why there is no recipient, if `addresses` is empty.
        is_wanted: False if the customer opted out of receipts.
    """

    due: Due
    event: NoticeEvent | None
    addresses: tuple[str, ...]
    reason: str = NOBODY
    is_wanted: bool = True


def plan(services: NoticeServices, facts: Facts, store: NoticeStore, log: Log, now_ms: int) -> int:
    """Make letters of the notifications due at `now_ms`, and return the number of letters.

    Notices with a digest come last, so that a large digest delays no other notice. Notifications in quiet hours are
    deferred to their end. Notifications of a notice that was removed are marked as passed.

    Raises: StorageError if the log or the store cannot be read or written. Letters stored before are kept.
    """
    dues_by_notice: dict[str, list[Due]] = {}
    with store.look() as queries:
        for due in queries.dues(now_ms):
            dues_by_notice.setdefault(due.notice, []).append(due)
    digests = {name for name, notice in services.notices.items() if notice.digest_ms}
    letter_count = 0
    for name in sorted(dues_by_notice, key=lambda name: name in digests):
        notice = services.notices.get(name)
        dues = dues_by_notice[name]
        if notice is None:
            _take(store, dues, PASSED)
            continue
        end_ms = None if notice.quiet is None else quiet_end_ms(notice.quiet, now_ms)
        if end_ms is not None:
            _hold(store, dues, end_ms)
            continue
        with store.look() as queries:
            dues = _together(notice, queries, dues, now_ms)
        addressed_dues = list[_Addressed]()
        for part in _parts(dues):
            addressed_dues += _add_recipients(services, facts, notice, part, log)
        letter_count += _letters(services, notice, store, addressed_dues, now_ms)
    return letter_count


def _together(notice: Notice, queries: NoticeQueries, dues: list[Due], now_ms: int) -> list[Due]:
    """Return the notifications to send now.

    These are `dues`, or all due notifications of the notice if one of `dues` was deferred. A digest takes all waiting
    ones, due or not; one for customers that a crash interrupted continues with the due ones.
    """
    if not notice.digest_ms and not any(due.is_held for due in dues):
        return dues
    is_for_customers = bool(notice.digest_ms) and notice.to.of_event is not None
    waiting_dues = queries.waiting(notice.name, CUSTOMER_DIGEST_SIZE_MAX if is_for_customers else DIGEST_SIZE_MAX)
    was_interrupted = is_for_customers and max(due.due_ms for due in dues) <= queries.last_made_ms(notice.name)
    if was_interrupted or not notice.digest_ms:
        return [due for due in waiting_dues if due.due_ms <= now_ms]
    return waiting_dues


def _letters(
    services: NoticeServices, notice: Notice, store: NoticeStore, addressed_dues: Sequence[_Addressed], now_ms: int
) -> int:
    """Store the letters of these notifications, and return the number of letters to send."""
    _take(store, [addressed.due for addressed in addressed_dues if not addressed.is_wanted], PASSED)
    groups = _groups(notice, [addressed for addressed in addressed_dues if addressed.is_wanted])
    # A digest of several transactions marks all its notifications as due first, so that a restart can continue it.
    if len(groups) > LETTERS_PER_TRANSACTION:
        _hold(store, [addressed.due for addressed in addressed_dues if addressed.due.due_ms > now_ms], now_ms)
    letter_count = 0
    for start in range(0, len(groups), LETTERS_PER_TRANSACTION):
        with store.change() as change:
            letters = _NoticeLetters(services, notice, change, now_ms)
            letter_count += letters.letters(groups[start : start + LETTERS_PER_TRANSACTION])
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
    return (dues[start : start + DUES_PER_TRANSACTION] for start in range(0, len(dues), DUES_PER_TRANSACTION))


def _add_recipients(
    services: NoticeServices, facts: Facts, notice: Notice, dues: Sequence[Due], log: Log
) -> Iterator[_Addressed]:
    needs_events = notice.asks or notice.to.of_event is not None
    events = facts.notice_events(log, [due.event for due in dues]) if needs_events else {}
    for due in dues:
        event = events.get(due.event)
        has_recipient = notice.to.of_event is not None and bool(facts.text_of(notice.to.of_event, event))
        addresses = addresses_of(services, facts, notice, event, due)
        reason = NO_ADDRESS if has_recipient else NOBODY
        is_wanted = event is None or notice.text_kind != RECEIPT or facts.holds(notice, event)
        yield _Addressed(due, event if notice.asks else None, addresses, reason, is_wanted)


def addresses_of(
    services: NoticeServices, facts: Facts, notice: Notice, event: NoticeEvent | None, due: Due | None = None
) -> tuple[str, ...]:
    """Return the mail addresses of a notice's recipients; none if its channel is not mail.

    A notification about a case that went to a user is for that user. Without a `role`, recipients come from the event
    or are the fixed addresses of the notice.
    """
    if notice.channel != "mail":
        return ()
    user = from_json(due.told).get("user") if due is not None and due.kind == "case" else None
    if user:
        return tuple(services.users(user))
    if notice.to.role:
        return tuple(services.users(notice.to.role))
    if notice.to.of_event is not None:
        address = facts.address(notice, event)
        return (address,) if address else ()
    return notice.to.addresses


def _groups(notice: Notice, addressed_dues: Iterable[_Addressed]) -> list[list[_Addressed]]:
    """Group notifications into letters.

    A digest has one letter for each recipient, and deferred notifications one for each recipient and rule. Each other
    notification, question, call or document is a letter of its own.
    """
    groups: dict[tuple[object, ...], list[_Addressed]] = {}
    for addressed in addressed_dues:
        key: tuple[object, ...] = (addressed.due.key,)
        if notice.asks or notice.channel != "mail":
            pass
        elif notice.digest_ms:
            key = (addressed.addresses,)
        elif addressed.due.is_held:
            key = (addressed.addresses, addressed.due.rule)
        groups.setdefault(key, []).append(addressed)
    return list(groups.values())


class _NoticeLetters:
    def __init__(self, services: NoticeServices, notice: Notice, change: NoticeChange, now_ms: int) -> None:
        self._services = services
        self._notice = notice
        self._change = change
        self._now_ms = now_ms
        # Letters that are not stored yet, with the keys of their notifications
        self._unstored: list[tuple[OutgoingMessage, Sequence[str]]] = []

    def letters(self, groups: Sequence[Sequence[_Addressed]]) -> int:
        """Make a letter of each group's notifications that still wait; return the number of letters to send."""
        current = self._change.dues_of([addressed.due.key for group in groups for addressed in group])
        waiting_keys = {key for key, due in current.items() if due.letter == WAITING}
        letter_count = 0
        for group in groups:
            pending = [addressed for addressed in group if addressed.due.key in waiting_keys]
            if pending:
                letter_count += self._letter(pending)
        self._store()
        return letter_count

    def _letter(self, group: Sequence[_Addressed]) -> int:
        """Make one letter; return 1, or 0 if the letter is dropped or its notifications are deferred."""
        notice = self._notice
        now_ms = self._now_ms
        first = group[0]
        keys = [addressed.due.key for addressed in group]
        rule = "" if notice.digest_ms else first.due.rule  # the limit of a digest covers all rules
        is_mail = notice.channel == "mail"
        recipient_hash = who_of(self._services.key, first.addresses) if is_mail else NO_ONE
        recipient_text = ", ".join(map(masked, first.addresses[:3])) if is_mail else notice.recipient
        letter = OutgoingMessage(
            # Letters that are due at one moment leave in the order of their ids, which ascend within a process
            f"{now_ms:012x}{next(_letter_numbers) & 0xFFFFFF:06x}{secrets.token_hex(3)}",
            notice.name,
            rule,
            recipient_hash,
            now_ms,
            min(first.due.due_ms, now_ms),
            to_json(keys).decode(),
            shown=recipient_text,
        )
        if is_mail and not first.addresses:
            return self._drop(letter, keys, first.reason)
        if notice.asks and self._is_asked(first.due.event):
            return self._drop(letter, keys, f"{first.due.event}: the customer was asked about it already")
        free_ms = self._free_ms(rule, recipient_hash)
        if free_ms > now_ms and notice.asks:
            reason = f"{first.due.event}: the limit of this notice was reached, so nobody was asked"
            return self._drop(letter, keys, reason)
        if free_ms > now_ms:
            self._change.hold(keys, free_ms)
            return 0
        self._unstored.append((letter, keys))
        event = first.event
        if notice.asks and event is not None:
            id_ = secrets.token_hex(ID_BYTES)
            ends_ms = now_ms + notice.lasts_ms
            question = Question(id_, letter.id, notice.name, event.name, event.receipt, recipient_hash, now_ms, ends_ms)
            self._change.put_question(question)
        return 1

    def _drop(self, letter: OutgoingMessage, keys: Sequence[str], reason: str) -> int:
        """Store a letter as dropped, with the reason; return 0, the number of letters to send."""
        self._unstored.append((replace(letter, state=DROPPED, done_ms=self._now_ms, reason=reason), keys))
        return 0

    def _is_asked(self, event: str) -> bool:
        """Whether a customer has a link about this event, or will get one. A second link would allow a second
        answer.
        """
        self._store()
        letters = (self._change.letter(question.letter) for question in self._change.questions_about([event]))
        return any(letter is None or letter.state not in (DROPPED, REFUSED) for letter in letters)

    def _store(self) -> None:
        """Store the letters made so far; called before each query, so that the query counts them."""
        if self._unstored:
            self._change.put_letters([letter for letter, _ in self._unstored])
            self._change.take_each([(key, letter.id) for letter, keys in self._unstored for key in keys])
            self._unstored = []

    def _free_ms(self, rule: str, recipient_hash: bytes) -> int:
        """Return the time in ms from which the limit allows another letter to these recipients; 0 if it does now."""
        limit = self._notice.limit
        if limit is None:
            return 0
        self._store()
        sent_times = self._change.sent_since(self._notice.name, rule, recipient_hash, self._now_ms - limit.per_ms)
        if len(sent_times) < limit.count:
            return 0
        return sent_times[len(sent_times) - limit.count] + limit.per_ms


def quiet_end_ms(quiet: Quiet, now_ms: int) -> int | None:
    """Return the end of the quiet hours that include `now_ms`; None outside quiet hours.

    Quiet hours are [start, end) in minutes of the day in their time zone. An end at or before the start is on the next
    day.
    """
    zone = ZoneInfo(quiet.zone)
    local_now = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone)
    minute = local_now.hour * 60 + local_now.minute
    is_over_midnight = quiet.end <= quiet.start
    if is_over_midnight:
        is_quiet = minute >= quiet.start or minute < quiet.end
    else:
        is_quiet = quiet.start <= minute < quiet.end
    if not is_quiet:
        return None
    day = local_now.date() + timedelta(days=1 if is_over_midnight and minute >= quiet.start else 0)
    end = datetime(day.year, day.month, day.day, quiet.end // 60, quiet.end % 60, tzinfo=zone)
    end_ms = round(end.timestamp() * 1_000)
    if end_ms > now_ms:
        return end_ms
    # The clock is set back in this night, so the end occurs twice, and the first time has passed.
    return round(end.replace(fold=1).timestamp() * 1_000)


def keys_of(letter: OutgoingMessage) -> list[str]:
    return from_json(letter.dues, type=list[str])
