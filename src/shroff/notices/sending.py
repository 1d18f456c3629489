"""Letters on their way: each is claimed, written, handed over, and what came of it kept.

A letter is claimed in the store before it is handed over, so no second process sends it meanwhile. Where a process
ends in between, nobody knows whether it left: once the claim has run out it is handed over once more, with the same
Message-ID, and where that too ends in between it stays, for people to look at. So it leaves twice at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from shroff.errors import ShroffError, TransientError, UsageError
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS
from shroff.notices.definitions import Notice
from shroff.notices.facts import NoticeEvent
from shroff.notices.mailer import DoubtError, Mail, Mailer
from shroff.notices.planning import addresses_of, keys_of, quiet_end_ms
from shroff.notices.questions import PATH, token_of
from shroff.notices.raising import done
from shroff.notices.reports.daily import report_values
from shroff.notices.services import NoticeServices
from shroff.notices.store import DROPPED, NO_ONE, OPEN, REFUSED, SENT, UNKNOWN, Due, Letter, NoticeStore
from shroff.notices.texts.mails import RenderedText, mail_of
from shroff.notices.texts.templates import TextError
from shroff.notices.texts.wording import covered
from shroff.people.addresses import who_of, with_masked
from shroff.streams.log import Log
from shroff.streams.sink import AwayError, Outgoing, Sink

CLAIM_MS: Final = 120_000  # a letter is handed over within the mailer's timeout, or its process is gone
WAIT_MS: Final = 30_000  # after a letter that was put off; twice as long after each further time,
WAIT_MS_MAX: Final = HOUR_MS  # up to this
PATIENCE_MS: Final = 3 * DAY_MS  # for which a letter is tried
PARTS_MS: Final = 15 * MINUTE_MS  # for which all of its recipients wait for one of them: most servers that delay do so
REASON_MAX: Final = 500
AWAY_MS: Final = 1_000  # for which a way that is away is left alone, twice as long after each further time,
AWAY_MS_MAX: Final = MINUTE_MS  # up to this
MAIL: Final = ""  # the way of all mails; those of webhooks and the lake are called as their notices
SHIPPED: Final = "it was written with the text that comes with shroff, since the project's own failed:"
TWICE: Final = "the connection was lost twice during delivery, so it may have been sent twice or not at all"


@dataclass(frozen=True, slots=True)
class Away:
    """Why nothing leaves by a way, since when, until when it is left alone, and how often it was tried."""

    words: str
    since_ms: int
    until_ms: int
    times: int


class LetterGoneError(ShroffError):
    """A letter has nothing to say any more; says why."""


class AnsweredError(ShroffError):
    """A letter has left, by a process that could not say so: its question has an answer."""


class Sending:
    """Hands letters over, on one thread.

    Mails leave by one way, and each notice by webhook or lake by one of its own. One that is away is tried less and
    less often, by one letter each time; the others go on.
    """

    def __init__(self, services: NoticeServices, store: NoticeStore, log: Log, claim_ms: int = CLAIM_MS) -> None:
        self._services, self._store, self._log, self._claim_ms = services, store, log, claim_ms
        self._letters = services.letters
        self._mailer: Mailer | None = None
        self._hooks: dict[str, Sink] = {}
        self._away: dict[str, Away] = {}

    @property
    def away(self) -> Away | None:
        """The way that has been away for longest; None where all are there, as far as is known."""
        return min(self._away.values(), key=lambda one: one.since_ms, default=None)

    def send(self, limit: int = 20) -> int:
        """Hand over what is due by the ways that are there; gives how many letters left."""
        now_ms = self._services.now_ms()
        if self._letters.facts.definitions is not self._services.definitions:
            self._letters = self._services.letters
        shut = {way for way, one in self._away.items() if now_ms < one.until_ms}
        without = [name for name, notice in self._services.notices.items() if _way(notice) in shut]
        with self._store.look() as look:
            found = look.open_letters(now_ms, limit, without)
        sent, tried = 0, set[str]()
        for letter in found:
            notice = self._services.notices.get(letter.notice)
            way = "" if notice is None else _way(notice)
            if way not in tried:
                sent += self._sent(letter, notice, way)
            if way in self._away:  # the letter at which that shows waits, and so do those behind it
                tried.add(way)
        return sent

    def close(self) -> None:
        """Let go of the mailer and of connections."""
        for one in (self._mailer, *self._hooks.values()):
            if one is not None:
                with suppress(Exception):  # what is broken may not close either
                    one.close()
        self._mailer = None
        self._hooks.clear()

    # Below: one letter

    def _sent(self, letter: Letter, notice: Notice | None, way: str) -> bool:
        if notice is not None and self._is_held(letter, notice):
            return False
        claimed = self._claimed(letter)
        if claimed is None:
            return False
        if notice is None:
            self._keep(claimed, DROPPED, "the notice is no longer there")
            return False
        try:
            reason = self._handed_over(notice, claimed)
        except LetterGoneError as gone:
            self._keep(claimed, DROPPED, str(gone))
            return False
        except AnsweredError:
            self._keep(claimed, SENT, "")
            return False
        except TextError as error:
            self._keep(claimed, REFUSED, str(error))
            return False
        except DoubtError as error:
            self._doubted(claimed, str(error))
            self._shut(way, error)
            return False
        except (AwayError, UsageError) as error:
            self._put_off(claimed, str(error))
            self._shut(way, error)
            return False
        except TransientError as error:
            self._put_off(claimed, str(error))
            return False
        except _AllRefusedError as error:
            self._keep(claimed, REFUSED, str(error))
            return False
        self._keep(claimed, SENT, reason)
        self._away.pop(way, None)
        return True

    def _is_held(self, letter: Letter, notice: Notice) -> bool:
        """Whether its notice tells nothing at this hour: a letter that was put off may have come into one."""
        end_ms = None if notice.quiet is None else quiet_end_ms(notice.quiet, self._services.now_ms())
        if end_ms is None:
            return False
        with self._store.change() as change:
            now = change.letter(letter.id)
            if now == letter:
                change.put_letter(replace(letter, due_ms=end_ms))
        return True

    def _shut(self, way: str, error: Exception) -> None:
        """Let go of a way that is away, and leave it alone for a while."""
        now_ms, before = self._services.now_ms(), self._away.get(way)
        since_ms, times = (now_ms, 0) if before is None else (before.since_ms, before.times)
        wait_ms = min(AWAY_MS << min(times, 20), AWAY_MS_MAX)
        if isinstance(error, AwayError):
            wait_ms = max(wait_ms, min(round(error.after_s * 1_000), AWAY_MS_MAX))
        self._away[way] = Away(str(error), since_ms, now_ms + wait_ms, times + 1)
        gone: Mailer | Sink | None = self._hooks.pop(way, None)
        if way == MAIL:
            gone, self._mailer = self._mailer, None
        if gone is not None:
            with suppress(Exception):  # what is broken may not close either
                gone.close()

    def _claimed(self, letter: Letter) -> Letter | None:
        """The letter, for this process alone; None where another one has it, or it is known to be in doubt twice."""
        now_ms = self._services.now_ms()
        with self._store.change() as change:
            now = change.letter(letter.id)
            if now is None or now.state != OPEN or now.claimed_ms > now_ms:
                return None
            doubts = now.doubts + (1 if now.claimed_ms else 0)
            if doubts >= 2:
                change.put_letter(replace(now, state=UNKNOWN, doubts=doubts, done_ms=now_ms, reason=TWICE))
                return None
            claimed = replace(now, doubts=doubts, attempts=now.attempts + 1, claimed_ms=now_ms + self._claim_ms)
            change.put_letter(claimed)
            return claimed

    def _keep(self, letter: Letter, state: str, reason: str) -> None:
        self._put_back(
            replace(letter, state=state, claimed_ms=0, done_ms=self._services.now_ms(), reason=_short(reason))
        )

    def _put_back(self, letter: Letter) -> None:
        """Keep what became of a letter. Whoever was forgotten while it was being sent stays so, its text included."""
        with self._store.change() as change:
            now = change.letter(letter.id)
            is_forgotten = now is not None and now.who == NO_ONE != letter.who
            change.put_letter(replace(letter, who=NO_ONE, shown="", reason="") if is_forgotten else letter)
            if letter.state in {SENT, REFUSED}:
                dues = [due for key in keys_of(letter) if (due := change.due(key)) is not None]
                for due in done(self._services.notices, letter, dues, letter.done_ms):
                    change.add_due(due)
        if is_forgotten:
            self._services.remove_mail(letter.id)

    def _doubted(self, letter: Letter, reason: str) -> None:
        """Nobody knows whether it left: once more, and then people look."""
        if letter.doubts:
            self._keep(letter, UNKNOWN, f"{TWICE}: {reason}")
        else:
            self._put_off(replace(letter, doubts=1), reason)

    def _put_off(self, letter: Letter, reason: str) -> None:
        now_ms = self._services.now_ms()
        if now_ms - letter.made_ms > PATIENCE_MS:
            self._keep(letter, REFUSED, f"{reason}; it was tried for {PATIENCE_MS // DAY_MS} days")
            return
        due_ms = now_ms + min(WAIT_MS << min(letter.attempts - 1, 20), WAIT_MS_MAX)
        self._put_back(replace(letter, claimed_ms=0, due_ms=due_ms, reason=_short(reason)))

    # ---- what leaves

    def _handed_over(self, notice: Notice, letter: Letter) -> str:
        """Have a letter leave; gives what is to be told of it though it left."""
        if notice.channel == "mail":
            mail, trouble = self._mail(notice, letter)
            words = [self._mailed(mail)] + ([f"{SHIPPED} {trouble}"] if trouble else [])
            return "; ".join(word for word in words if word)
        due = self._dues(letter)[0]
        document = self._letters.document(notice, due, self._log)
        if document is None:
            raise LetterGoneError("its event is no longer there")
        id_, body = document
        if notice.channel == "lake":
            self._put(notice, id_, body)
        else:
            self._called(notice, due, body)
        return ""

    def _mailed(self, mail: Mail) -> str:
        self._mailer = self._mailer or self._services.open_mailer()
        refused = self._mailer.send(mail)
        words = "; ".join(f"{one.address}: {one.reason}" for one in refused)
        if len(refused) == len(mail.recipients):
            raise _AllRefusedError(words)
        return words

    def _put(self, notice: Notice, id_: str, body: bytes) -> None:
        """Put a document into the lake; the same one comes to lie at the same place, whoever puts it."""
        from shroff.lake.documents import named

        with self._services.lake() as objects:
            name = f"{notice.folder}/{named(notice.file, id_)}.json"
            if not objects.put(name, body + b"\n"):
                raise _AllRefusedError(f"{name} is in the lake already, with other content")

    def _called(self, notice: Notice, due: Due, body: bytes) -> None:
        hook = self._hooks.get(notice.name)
        if hook is None:
            hook = self._hooks[notice.name] = self._services.hook(notice)
        row = _Keyed(0, 0, due.kind, *_parted(due.event), "", body, due=due.key)
        for one in hook.send([row]):
            if one.may_pass:
                raise TransientError(one.reason)
            raise _AllRefusedError(one.reason)

    def _mail(self, notice: Notice, letter: Letter) -> tuple[Mail, str]:
        """The mail of a letter, and why it has not the project's own text, where that failed.

        Raises: GoneError where it has nothing to say any more.
        """
        dues = self._dues(letter)
        told = self._letters.facts.told(self._log, dues[0].event) if dues[0].event else None
        addresses = addresses_of(self._services, self._letters.facts, notice, told)
        if not addresses:
            raise LetterGoneError("no recipient is named; an address may have been erased")
        written = self._written(notice, letter, dues, told, addresses)
        mail = mail_of(
            written,
            id=letter.id,
            sender=self._services.mail_from,
            recipients=addresses,
            made_ms=letter.made_ms,
            may_part=self._services.now_ms() - letter.made_ms > PARTS_MS,
        )
        return mail, written.trouble

    def _written(
        self, notice: Notice, letter: Letter, dues: list[Due], told: NoticeEvent | None, addresses: Sequence[str]
    ) -> RenderedText:
        if notice.asks:
            return self._question(notice, letter, told, who_of(self._services.key, addresses))
        if dues[0].kind == "report":
            values = report_values(self._services, notice, dues[0], self._log)
            return self._letters.report(notice, values)
        return self._letters.notice(notice, dues, self._log)

    def _question(self, notice: Notice, letter: Letter, told: NoticeEvent | None, who: bytes) -> RenderedText:
        """The question with its link. Where its address is another one by now, a link that left before is forged."""
        if told is None:
            raise LetterGoneError("its event is no longer there")
        with self._store.change() as change:
            question = next((one for one in change.questions_of(told.name) if one.letter == letter.id), None)
            if question is not None and question.answer:
                raise AnsweredError("its question has been answered")
            if question is None or self._services.now_ms() > question.ends_ms - MINUTE_MS:
                raise LetterGoneError("its link expired before it could be sent")
            if question.who != who:
                question = replace(question, who=who)
                change.put_question(question)
        link = self._services.sender.url.rstrip("/") + PATH + token_of(self._services.key, question)
        return self._letters.question(notice, told, question, link)

    def _dues(self, letter: Letter) -> list[Due]:
        with self._store.look() as look:
            found = [due for key in keys_of(letter) if (due := look.due(key)) is not None]
        if not found:
            raise LetterGoneError("the data that it reports is no longer stored")
        return found


class _Keyed(Outgoing, frozen=True, gc=False):
    """A row whose key is that of a due."""

    due: str = ""

    @property
    def key(self) -> str:
        return self.due


class _AllRefusedError(ShroffError):
    """Nobody takes the letter, for good."""


def _way(notice: Notice) -> str:
    return MAIL if notice.channel == "mail" else notice.name


def _parted(event: str) -> tuple[str, str]:
    type_, _, id_ = event.partition("/")
    return type_, id_


def _short(reason: str) -> str:
    """A reason as it is kept: nothing that looks like a card, no address, and not too much."""
    return covered(with_masked(reason))[:REASON_MAX]
