"""Sending of letters: several are claimed at once, rendered and sent, and their results stored.

A letter is claimed in the store before it is sent, so that no second process sends it too. If a process ends in
between, nobody knows whether the letter left. After the claim expires it is sent again with the same Message-ID; if
that is interrupted too, it stays for a person to check. So a letter leaves at most twice.
Claims and events are read for many letters at once: single transactions and reads took most of a letter's time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from hashlib import sha256
from operator import call
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from shroff.errors import ShroffError, TransientError, UsageError
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.notices.customer_answers import PATH, token_of
from shroff.notices.definitions import Notice
from shroff.notices.facts import NoticeEvent
from shroff.notices.mailbox import file_name, without_link
from shroff.notices.mailer import DoubtError, Mail, Mailer
from shroff.notices.notification_routes import addresses_of, keys_of, quiet_end_ms
from shroff.notices.reports.daily import report_values
from shroff.notices.services import NoticeServices
from shroff.notices.store import DROPPED, NO_ONE, OPEN, PARTLY, REFUSED, SENT, SHIPPED, UNKNOWN, Due, OutgoingMessage
from shroff.notices.texts.localization import covered
from shroff.notices.texts.mails import RenderedText, mail_of
from shroff.notices.texts.templates import TextError
from shroff.notices.triggers import done
from shroff.people.addresses import who_of, with_masked
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log
from shroff.streams.sink import AwayError, Outgoing, Sink

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

CLAIM_MS = 120_000  # longer than a mailer's timeout: after it, the process is gone
# Delay after a deferred letter, doubled each time up to WAIT_MS_MAX
WAIT_MS = 30_000
WAIT_MS_MAX = HOUR_MS
PATIENCE_MS = 3 * DAY_MS  # time for which a letter is tried
# Time for which all recipients wait for a deferred one; most greylisting servers need less
PARTS_MS = 15 * MINUTE_MS
REASON_MAX = 500
AT_ONCE = 50  # letters claimed at once, and so the most that are in doubt after a kill
LANES = 4  # connections to the mail server; mails to the same recipients use the same one, in order
FEW = 12  # letters for which one connection is enough
# Pause of an unreachable channel, doubled each time up to AWAY_MS_MAX
AWAY_MS = 1_000
AWAY_MS_MAX = MINUTE_MS
MAIL = ""  # channel of all mails; each notice by webhook or lake has a channel of its own name
TWICE = "the connection was lost twice during delivery, so it may have been sent twice or not at all"
# Results that notices on other letters report, by the letter's state
_RESULTS: Final = {SENT: (SENT,), REFUSED: (REFUSED,), PARTLY: (SENT, REFUSED)}


class ChannelOutage(FrozenStruct):
    """Why a channel is unreachable: the error, since when, until when it pauses, and the number of attempts."""

    words: str
    since_ms: int
    until_ms: int
    times: int


class _Ready(Struct):
    """A rendered letter: the functions that open its channel and send it, and the result.

    `outcome` is the error, or a remark about a sent letter; None before an attempt.
    """

    letter: OutgoingMessage
    way: str
    opens: Callable[[], Any]
    hand_over: Callable[[Any], str | _SomeRefused]
    outcome: Exception | str | _SomeRefused | None = None
    is_out: bool = False  # was sent, or may have been


class LetterGoneError(ShroffError):
    """A letter has nothing to report any more; the message says why."""


class AnsweredError(ShroffError):
    """A letter was sent by a process that could not record it: its question has an answer."""


class MailSender:
    """Sends letters.

    All mails share one channel; each notice by webhook or lake has its own. An unreachable channel is tried less and
    less often, with one letter; the others continue. Channels do not wait for each other, and mails use several
    connections, on threads; everything else runs on the calling thread.
    """

    def __init__(self, services: NoticeServices, store: NoticeStore, log: Log) -> None:
        self._services = services
        self._store = store
        self._log = log
        self._letters = services.letters
        self._open: dict[tuple[str, int], Mailer | Sink] = {}  # by channel and lane
        self._away: dict[str, ChannelOutage] = {}
        self._dues: Mapping[str, Due] = {}  # notifications of the letters being sent
        self._threads = ThreadPoolExecutor(thread_name_prefix="letters")

    @property
    def away(self) -> ChannelOutage | None:
        """The channel that has been unreachable longest; None if none is known to be."""
        return min(self._away.values(), key=lambda away: away.since_ms, default=None)

    def send(self, limit: int = AT_ONCE) -> int:
        """Send due letters through reachable channels; return their number."""
        now_ms = self._services.now_ms()
        if self._letters.facts.definitions is not self._services.definitions:
            self._letters = self._services.letters
        notices = self._services.notices
        shut = {way for way, away in self._away.items() if now_ms < away.until_ms}
        without = [name for name, notice in notices.items() if _way(notice) in shut]
        with self._store.look() as queries:
            open_letters = queries.open_letters(now_ms, limit, without)
        candidates = list[OutgoingMessage]()
        tested_channels = set[str]()
        for letter in open_letters:
            notice = notices.get(letter.notice)
            if notice is not None and (_way(notice) in tested_channels or self._is_held(letter, notice)):
                continue
            candidates.append(letter)
            if notice is not None and _way(notice) in self._away:  # one letter tests whether the channel is back
                tested_channels.add(_way(notice))
        claimed = self._claim(candidates)
        if not claimed:
            return 0
        with self._store.look() as queries:
            self._dues = queries.dues_of([key for letter in claimed for key in keys_of(letter)])
        with self._letters.facts.read(self._log, [due.event for due in self._dues.values() if due.event]):
            ready = [self._render_letter(letter, notices.get(letter.notice)) for letter in claimed]
        self._hand_over([message for message in ready if message.outcome is None])
        self._put_back([self._letter_with_result(message) for message in ready])
        for message in ready:
            if isinstance(message.outcome, Exception) and not _is_told(message.outcome):
                raise message.outcome
        return sum(isinstance(message.outcome, str | _SomeRefused) for message in ready)

    def close(self) -> None:
        self._let_go(list(self._open))
        self._threads.shutdown(wait=False)

    # ---- how letters leave

    def _render_letter(self, letter: OutgoingMessage, notice: Notice | None) -> _Ready:
        if notice is None:
            return _Ready(letter, "", _nobody, str, LetterGoneError("the notice is no longer there"))
        try:
            return _Ready(letter, _way(notice), *self._render(notice, letter))
        except Exception as error:  # noqa: BLE001 - stored with the letter; a programming error is raised last
            return _Ready(letter, _way(notice), _nobody, str, error)

    def _hand_over(self, ready: Sequence[_Ready]) -> None:
        """Send letters, those of one lane one after another. Mails use one lane until the first has left."""
        lanes = dict[tuple[str, int], list[_Ready]]()
        is_wide = (MAIL, 0) in self._open and sum(message.way == MAIL for message in ready) > FEW
        for message in ready:
            lane = int.from_bytes(message.letter.who[:4], "big") % LANES if is_wide and message.way == MAIL else 0
            lanes.setdefault((message.way, lane), []).append(message)
        runs = [partial(self._run_lane, *key, letters) for key, letters in lanes.items()]
        for _ in map(call, runs) if len(runs) == 1 else self._threads.map(call, runs):
            pass

    def _run_lane(self, way: str, lane: int, letters: Sequence[_Ready]) -> None:
        """Send letters until the channel is unreachable, or half of the claim has passed: then others could take
        them.
        """
        for letter in letters:
            if self._services.now_ms() > letter.letter.claimed_ms - CLAIM_MS // 2:
                return
            try:
                connection = self._open.get((way, lane)) or self._open.setdefault((way, lane), letter.opens())
                letter.is_out = True
                letter.outcome = letter.hand_over(connection)
            except Exception as error:  # noqa: BLE001 - as above
                letter.outcome = error
                if isinstance(error, AwayError | UsageError) or not _is_told(error):
                    return

    def _letter_with_result(self, message: _Ready) -> OutgoingMessage:
        letter = message.letter
        outcome = message.outcome
        now_ms = self._services.now_ms()
        if outcome is None:  # was not tried
            return replace(letter, attempts=letter.attempts - 1, claimed_ms=0)
        if isinstance(outcome, str | _SomeRefused):
            self._away.pop(message.way, None)
            return _finished(letter, SENT if isinstance(outcome, str) else PARTLY, str(outcome), now_ms)
        if isinstance(outcome, AnsweredError):
            return _finished(letter, SENT, "", now_ms)
        if isinstance(outcome, LetterGoneError):
            return _finished(letter, DROPPED, str(outcome), now_ms)
        if isinstance(outcome, TextError | _AllRefusedError):
            return _finished(letter, REFUSED, str(outcome), now_ms)
        if isinstance(outcome, AwayError | UsageError):
            self._shut(message.way, outcome)
        if isinstance(outcome, DoubtError):
            # ^Nobody knows whether it left: try once more, then let people check
            reason = str(outcome)
            if letter.doubts:
                return _finished(letter, UNKNOWN, f"{TWICE}: {reason}", now_ms)
            return _put_off(replace(letter, doubts=1), reason, now_ms)
        is_unsent = not message.is_out or isinstance(outcome, TransientError | UsageError)
        return _put_off(letter, str(outcome), now_ms) if is_unsent else letter

    def _is_held(self, letter: OutgoingMessage, notice: Notice) -> bool:
        """Defer a letter whose notice has quiet hours now; return whether it did."""
        end_ms = None if notice.quiet is None else quiet_end_ms(notice.quiet, self._services.now_ms())
        if end_ms is None:
            return False
        with self._store.change() as change:
            stored = change.letter(letter.id)
            if stored == letter:
                change.put_letter(replace(letter, due_ms=end_ms))
        return True

    def _shut(self, way: str, error: Exception) -> None:
        now_ms = self._services.now_ms()
        last_failure = self._away.get(way)
        if last_failure is None or last_failure.until_ms <= now_ms:  # several lanes report the same failure
            since_ms, times = (now_ms, 0) if last_failure is None else (last_failure.since_ms, last_failure.times)
            wait_ms = min(AWAY_MS << min(times, 20), AWAY_MS_MAX)
            if isinstance(error, AwayError):
                wait_ms = max(wait_ms, min(round(error.after_s * 1_000), AWAY_MS_MAX))
            self._away[way] = ChannelOutage(_short(str(error)), since_ms, now_ms + wait_ms, times + 1)
        self._let_go([key for key in self._open if key[0] == way])

    def _let_go(self, keys: Sequence[tuple[str, int]]) -> None:
        for key in keys:
            with suppress(Exception):  # closing a broken connection may fail too
                self._open.pop(key).close()

    def _claim(self, letters: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Claim letters for this process, except those claimed by others or in doubt for the second time."""
        now_ms = self._services.now_ms()
        changed = list[OutgoingMessage]()
        if not letters:
            return []
        with self._store.change() as change:
            current_letters = change.letters_of([letter.id for letter in letters])
            for letter in letters:
                current = current_letters.get(letter.id)
                if current is None or current.state != OPEN or current.claimed_ms > now_ms:
                    continue
                doubts = current.doubts + (1 if current.claimed_ms else 0)
                if doubts >= 2:
                    changed.append(replace(current, state=UNKNOWN, doubts=doubts, done_ms=now_ms, reason=TWICE))
                else:
                    until_ms = now_ms + CLAIM_MS
                    changed.append(replace(current, doubts=doubts, attempts=current.attempts + 1, claimed_ms=until_ms))
            change.put_letters(changed)
        return [letter for letter in changed if letter.state == OPEN]

    def _put_back(self, letters: Sequence[OutgoingMessage]) -> None:
        """Store the results of letters. If a recipient was erased meanwhile, the letter stays erased, with its file."""
        notices = self._services.notices
        forgotten = list[OutgoingMessage]()
        dues = list[Due]()
        with self._store.change() as change:
            current_letters = change.letters_of([letter.id for letter in letters])
            returned = list[OutgoingMessage]()
            for letter in letters:
                current = current_letters.get(letter.id)
                if current is not None and current.who == NO_ONE != letter.who:
                    forgotten.append(letter)
                    returned.append(replace(letter, who=NO_ONE, shown="", reason=""))
                else:
                    returned.append(letter)
                notifications = [self._dues[key] for key in keys_of(letter) if key in self._dues]
                for state in _RESULTS.get(letter.state, ()):
                    dues += done(notices, replace(letter, state=state), notifications, letter.done_ms)
            change.put_letters(returned)
            change.add_dues(dues)
        for letter in forgotten:
            (self._services.mail_folder / file_name(letter.id)).unlink(missing_ok=True)

    # ---- content

    def _render(
        self, notice: Notice, letter: OutgoingMessage
    ) -> tuple[Callable[[], Any], Callable[[Any], str | _SomeRefused]]:
        """Render a letter; return the functions that open its channel and send it. Sending returns a remark, or an
        empty text.
        """
        if notice.channel == "mail":
            mail, failure = self._mail(notice, letter)
            return self._services.open_mailer, partial(_send_mail, mail, f"{SHIPPED} {failure}" if failure else "")
        due = self._dues_of(letter)[0]
        document = self._letters.document(notice, due, self._log)
        if document is None:
            raise LetterGoneError("its event is no longer there")
        id_, body = document
        if notice.channel == "lake":
            return _nobody, partial(_put, self._services, notice, id_, body)
        return partial(self._services.hook, notice), partial(_call, due, body)

    def _mail(self, notice: Notice, letter: OutgoingMessage) -> tuple[Mail, str]:
        """Render the mail of a letter; return also why the project's own text was not used, if it failed.

        Raises: LetterGoneError if the letter has nothing to report any more.
        """
        dues = self._dues_of(letter)
        event_facts = self._letters.facts.notice_event(self._log, dues[0].event) if dues[0].event else None
        addresses = addresses_of(self._services, self._letters.facts, notice, event_facts, dues[0])
        if not addresses:
            raise LetterGoneError("no recipient is named; an address may have been erased")
        if notice.asks:
            rendered = self._question(notice, letter, event_facts, who_of(self._services.key, addresses))
        elif dues[0].kind == "report":
            rendered = self._letters.report(notice, report_values(self._services, notice, dues[0], self._log))
        else:
            rendered = self._letters.notice(notice, dues, self._log)
        mail = mail_of(
            rendered,
            id=letter.id,
            sender=self._services.mail_from,
            recipients=addresses,
            made_ms=letter.made_ms,
            may_part=self._services.now_ms() - letter.made_ms > PARTS_MS,
        )
        return mail, rendered.trouble

    def _question(
        self, notice: Notice, letter: OutgoingMessage, notice_event: NoticeEvent | None, recipient_hash: bytes
    ) -> RenderedText:
        """Render the question with its link. If the address has changed, links sent before become invalid."""
        if notice_event is None:
            raise LetterGoneError("its event is no longer there")
        with self._store.change() as change:
            question = next(
                (earlier for earlier in change.questions_about([notice_event.name]) if earlier.letter == letter.id),
                None,
            )
            if question is not None and question.answer:
                raise AnsweredError("its question has been answered")
            if question is None or self._services.now_ms() > question.ends_ms - MINUTE_MS:
                raise LetterGoneError("its link expired before it could be sent")
            if question.who != recipient_hash:
                question = replace(question, who=recipient_hash)
                change.put_question(question)
        link = self._services.sender.url.rstrip("/") + PATH + token_of(self._services.key, question)
        return self._letters.question(notice, notice_event, question, link)

    def _dues_of(self, letter: OutgoingMessage) -> list[Due]:
        dues = [self._dues[key] for key in keys_of(letter) if key in self._dues]
        if not dues:
            raise LetterGoneError("the data that it reports is no longer stored")
        return dues


class _Keyed(Outgoing, frozen=True, gc=False):
    due: str = ""

    @property
    def key(self) -> str:
        """The notification's key, or its hash if a header cannot contain it."""
        due = self.due
        return due if due.isascii() and due.isprintable() else sha256(due.encode()).hexdigest()


class _SomeRefused(NamedTuple):
    """Why a mail server refused some of a letter's recipients; the others got it."""

    words: str

    def __str__(self) -> str:
        return self.words


class _AllRefusedError(ShroffError):
    """All recipients were refused for good."""


def _is_told(error: Exception) -> bool:
    """Whether an error concerns the letter or its channel, rather than the program or the store."""
    return isinstance(error, TransientError | UsageError | LetterGoneError | AnsweredError | _AllRefusedError)


def _finished(letter: OutgoingMessage, state: str, reason: str, now_ms: int) -> OutgoingMessage:
    return replace(letter, state=state, claimed_ms=0, done_ms=now_ms, reason=_short(reason))


def _put_off(letter: OutgoingMessage, reason: str, now_ms: int) -> OutgoingMessage:
    if now_ms - letter.made_ms > PATIENCE_MS:
        return _finished(letter, REFUSED, f"{reason}; it was tried for {PATIENCE_MS // DAY_MS} days", now_ms)
    due_ms = now_ms + min(WAIT_MS << min(letter.attempts - 1, 20), WAIT_MS_MAX)
    return replace(letter, claimed_ms=0, due_ms=due_ms, reason=_short(reason))


def _send_mail(mail: Mail, failure: str, mailer: Mailer) -> str | _SomeRefused:
    refused = mailer.send(mail)
    reasons = "; ".join(f"{recipient.address}: {recipient.reason}" for recipient in refused)
    if len(refused) == len(mail.recipients):
        raise _AllRefusedError(reasons)
    if refused:
        return _SomeRefused("; ".join(part for part in (reasons, failure) if part))
    return failure


def _call(due: Due, body: bytes, hook: Sink) -> str:
    type_, _, id_ = due.event.partition("/")
    row = _Keyed(0, 0, due.kind, *(type_, id_), "", body, due=due.key)
    for undelivered in hook.send([row]):
        if undelivered.may_pass:
            raise TransientError(undelivered.reason)
        raise _AllRefusedError(undelivered.reason)
    return ""


def _put(services: NoticeServices, notice: Notice, id_: str, body: bytes, _nobody: None) -> str:
    """Put a document into the lake; equal documents have the same path."""
    from shroff.lake.documents import named

    with services.lake() as objects:
        name = f"{notice.folder}/{named(notice.file, id_)}.json"
        if not objects.put(name, body + b"\n"):
            raise _AllRefusedError(f"{name} is in the lake already, with other content")
    return ""


def _nobody() -> None:
    """Open nothing: the lake, and a letter that was not rendered, need no connection."""


def _way(notice: Notice) -> str:
    return MAIL if notice.channel == "mail" else notice.name


def _short(reason: str) -> str:
    """Shorten a reason for storage, without card numbers, addresses and customers' links."""
    # Join lines that quoted-printable split, as servers quote them
    joined = re.sub(r"=\r?\n", "", reason)
    return covered(with_masked(without_link(joined)))[:REASON_MAX]
