"""Declared notices of a project, their letters and mails, and the store of sent ones."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, contextmanager
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import Problem, ShroffError, UsageError, nearest
from shroff.events.event import time_text
from shroff.json_types import TextMapping
from shroff.language.values import DAY_MS
from shroff.runtime import environment
from shroff.runtime.entry_points import load_entry
from shroff.runtime.values import replace
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.parts import ProjectPart, ProjectParts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shroff.monitoring.doctor import Finding
    from shroff.notices.case_notifications import CaseNotifications
    from shroff.notices.definitions import Notice
    from shroff.notices.mailbox import StoredMail
    from shroff.notices.mailer import Mailer
    from shroff.notices.sql import NoticeStore
    from shroff.notices.store import OutgoingMessage, Question
    from shroff.people.store import PeopleStore
    from shroff.project.definitions import Loaded
    from shroff.streams.log import Log

FOLDER = "notices/"
SENDER = "shroff@localhost"
LETTERS_SHOWN = 999  # newest sent letters that `doctor` checks
LINKS_MAX = 5  # open links to the reasons of one decision
REASON_MAX = 300  # characters


class NoticeFiles(ProjectPart):
    """Notices of a project, and the location of their records."""

    _outside: AdapterFactory

    @property
    def declared(self) -> dict[str, Notice]:
        """Notices by name: the active ones in a process that writes the log, else those of the project's files.

        Raises: DefinitionError.
        """
        from shroff.notices.definitions import load_notices

        definitions, files, zone = self._definitions, self.files(), self._systems.time_zone
        cache_key = definitions, tuple(sorted(files.items())), zone
        return self._context.read_once.of_same(
            "notices", cache_key, lambda: load_notices(files, definitions, [], [], zone)
        )

    def files(self) -> TextMapping:
        from shroff.log.active_files import NOTICES

        active = self._context.taken.files
        return config.read_files(self._paths.folder, [], (NOTICES,)) if active is None else active

    def tells_customers(self, event: str) -> bool:
        """Return whether a notice has texts that explain decisions on this event type to customers."""
        return any(notice.reasons and notice.event == event for notice in self.declared.values())

    def one(self, name: str) -> Notice:
        """Get one notice. Raises: UsageError if there is none with this name."""
        declared = self.declared
        if name not in declared:
            hint = nearest(name, declared) or f"There is {', '.join(declared) or 'none'}."
            raise UsageError(f"there is no notice {name!r}. {hint}")
        return declared[name]

    @property
    def mail_folder(self) -> str | None:
        """Folder of the built-in mailbox, relative to the project; None if a server sends the mails."""
        places = self._paths
        return str(places.mail).removeprefix(f"{places.folder}/") if self._systems.mails_are_files else None

    def open_store(self) -> NoticeStore:
        return self.store_beside(self._outside.open_people())

    def case_notices(self, people: PeopleStore, log: Log) -> CaseNotifications | None:
        """Get the writer of notifications for opened cases; None if no notice is on cases."""
        notices = [notice for notice in self.declared.values() if notice.on == "case"]
        if not notices:
            return None
        from shroff.notices.case_notifications import CaseNotifications

        return CaseNotifications(notices, self._definitions, self.store_beside(people), log, self._now_ms)

    def store_beside(self, people: PeopleStore) -> NoticeStore:
        """Open the store of notices on the connections of `people`, which closes them."""
        from shroff.notices.sql import NoticeStore

        return NoticeStore(people)

    def tells(self) -> bool:
        return bool(self.declared) or any(rule.notify for rule in self._definitions.rules)

    @contextmanager
    def told(self) -> Iterator[NoticeStore]:
        """Open the store of notifications, messages and questions. Raises: UsageError without a log."""
        with closing(self.open_store()) as store:
            yield store


class SentLetters(ProjectPart):
    """Letters of notices: delivery and records."""

    _notice_files: NoticeFiles

    def open_mailer(self) -> Mailer:
        """Open the mailer; the caller closes it. Raises: UsageError for invalid settings."""
        system = self._systems.mailer
        adapter = load_entry(f"mailer.{system.kind}")
        if self._systems.mails_are_files:
            folder: Mailer = adapter(self._paths.mail)
            return folder
        own: Mailer = adapter(self._systems.settled("mailer", system, self._paths.folder))
        return own

    def mails(self, limit: int) -> list[StoredMail]:
        from shroff.notices.mailbox import stored_mails

        return stored_mails(self._paths.mail, limit)

    def mail(self, name: str) -> StoredMail | None:
        from shroff.notices.mailbox import stored_mail

        return stored_mail(self._paths.mail, name)

    def page(
        self, states: str, before: tuple[int, str] | None, limit: int
    ) -> tuple[int, dict[str, int], list[OutgoingMessage], list[OutgoingMessage]]:
        """Return the number of notifications not yet made into letters, letter counts by state (open and failed), a
        page of letters, and the oldest letter of each failing notice.

        `states` are names separated by commas; all if empty. Raises: BadQueryError for an unknown one.
        """
        from shroff.notices.store import FAILED, OPEN, STATES
        from shroff.operations.pagination import BadQueryError

        chosen = [state for state in states.split(",") if state]
        if not set(chosen) <= set(STATES):
            raise BadQueryError(f"state: of {', '.join(STATES)}")
        with self._notice_files.told() as store, store.look() as look:
            counts = look.count_letters((OPEN, *FAILED))
            return look.count_waiting(), counts, look.letters(chosen, before=before, limit=limit), look.failing()

    def questions(self, event: str) -> list[Question]:
        """Get the questions to customers about a decision, oldest first."""
        with self._notice_files.told() as store, store.look() as look:
            return look.questions_about([event])

    def link(self, name: str) -> tuple[str, Question]:
        """Make the link to the reasons of a decision, as the customer sees them. Raises: UsageError."""
        from secrets import token_bytes

        from shroff.notices.customer_answers import ID_BYTES, PATH, token_of
        from shroff.notices.facts import Facts
        from shroff.notices.store import Question

        services = ProjectParts(self._context).notices.services()
        fits = [
            notice for notice in services.notices.values() if notice.reasons and notice.event == name.partition("/")[0]
        ]
        with self._log.reading() as log:
            facts = Facts(services.definitions).notice_event(log, name)
        if facts is None or not facts.receipt:
            raise UsageError(f"{name!r} is no decision. Name an event as payment/p-1.")
        if not fits:
            raise UsageError(
                f"no notice has texts for customers of {facts.type}: write 'reasons' into notices/why.yaml."
            )
        if not (self._systems.public_url or self._context.served_at):
            raise UsageError(
                "no address that a customer can open: write web: { url: https://fraud.bank.example } into shroff.yaml."
            )
        now_ms = self._now_ms()
        # Erased with the person's data, which invalidates the link
        ids, nobody = token_bytes(ID_BYTES).hex(), token_bytes(32)
        question = Question(ids, "", fits[0].name, name, facts.receipt, nobody, now_ms, now_ms + fits[0].lasts_ms)
        with self._notice_files.told() as store, store.change() as change:
            about = change.questions_about([name])
            if sum(known.is_why and known.ends_ms > now_ms for known in about) >= LINKS_MAX:
                raise UsageError(
                    f"{name} has {LINKS_MAX} links that customers can open. Use one, or wait until they end."
                )
            change.put_question(question)
        return services.sender.url.rstrip("/") + PATH + token_of(services.key, question), question

    def look_at_server(self) -> Finding:
        """Check for `doctor` that the mail server answers and accepts the account. Raises: as `Mailer.send`."""
        from shroff.monitoring.doctor import OK, Finding
        from shroff.notices.mailer import MailServer

        with closing(self.open_mailer()) as mailer:
            where = mailer.greet() if isinstance(mailer, MailServer) else self._systems.mailer.kind
        return Finding("mail server", OK, f"{where} answers")

    def forget(self, events: Sequence[str], of: str | None) -> tuple[int, int]:
        """Delete stored mails about these events, and the records of all recipients, as `PrivacyErasure.erase`
        requires.

        Test mails of notices are deleted too, because they belong to no known event.
        """
        from shroff.notices.mailbox import stored_files_of
        from shroff.notices.preview import preview_id
        from shroff.people.audit import Act

        with self._notice_files.told() as store:
            with store.look() as look:
                letters = [letter.id for letter in look.letters_about(events)]
                questions, worded = look.questions_about(events), look.worded_about(events)
            ids = [
                *letters,
                *(question.letter for question in questions if question.letter),
                *map(preview_id, self._notice_files.declared),
            ]
            files = stored_files_of(self._paths.mail, ids)
            if of is not None and (files or letters or questions or worded):
                counts_by_kind = {"mails": len(files), "letters": len(letters)}
                with store.change() as change:
                    change.people.audit(Act(self._context.who, "mail.erase", of, None, counts_by_kind), self._now_ms())
                    change.forget(letters, events)
                for path in files:
                    path.unlink(missing_ok=True)
        return len(files), len(letters)

    def look_at_mail(self) -> Finding:
        """Check notices for `doctor`: mails, calls and documents that were not sent correctly."""
        from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
        from shroff.notices.store import FAILED, OPEN, PARTLY, REFUSED, SENT, SHIPPED, STATES, UNKNOWN

        own = {"smtp": "a mail server"}.get(self._systems.mailer.kind, self._systems.mailer.kind)
        where = f"files in {self._paths.mail}" if self._systems.mails_are_files else own
        if not self._notice_files.declared:
            return Finding("mail", OK, f"no notice is declared; mails would go to {where}")
        try:
            with self._notice_files.told() as store, store.look() as look:
                counts = Counter(look.count_letters(STATES))
                sent, failing = look.letters([SENT], limit=LETTERS_SHOWN), look.failing()
        except (ShroffError, OSError) as error:
            return Finding("mail", NOTE, f"sent mails cannot be read: {error}")
        wrong, cures = list[str](), list[str]()
        if failing:
            since = f"nothing of notice {failing[0].notice} leaves since {time_text(failing[0].made_ms)}"
            wrong.append(f"{since}: {failing[0].reason}; {counts[OPEN]:,} waiting")
            cures.append("'shroff serve' and 'shroff run' retry. Check the mail server, or the address that is called.")
        if any(counts[state] for state in FAILED):
            kinds = ((REFUSED, "refused"), (PARTLY, "refused for some recipients"), (UNKNOWN, "with unknown delivery"))
            words = " and ".join(f"{counts[state]:,} {says}" for state, says in kinds if counts[state])
            wrong.append(f"messages of notices: {words}")
            cures.append(
                "'shroff notices letters' shows the reasons. 'shroff notices retry LETTER' sends one again, 'shroff "
                "notices drop LETTER' discards it."
            )
        if wrong:
            return Finding("mail", WRONG, "; ".join(wrong), " ".join(cures))
        since_ms = self._now_ms() - DAY_MS
        failed = [message for message in sent if message.done_ms > since_ms and SHIPPED in message.reason]
        if failed:
            words = f"{_many(len(failed))} sent in the last day without the project's own text: {failed[0].reason}"
            return Finding("mail", WRONG, words, "Correct the text, then 'shroff check' and 'shroff apply'.")
        waits = f", {counts[OPEN]:,} waiting" if counts[OPEN] else ""
        return Finding("mail", OK, f"{counts[SENT]:,} sent to {where}{waits}, none refused")

    def drop(self, id: str) -> OutgoingMessage:
        """Drop a letter that failed for some or all recipients, or may have. Raises: UsageError for any other."""
        from shroff.notices.preview import given_up

        with self._notice_files.told() as store:
            return given_up(store, id, self._now_ms())

    def retry(self, id: str) -> OutgoingMessage:
        """Send such a letter again to all its recipients. Raises: UsageError for any other."""
        from shroff.notices.preview import again

        with self._notice_files.told() as store:
            return again(store, id, self._now_ms())

    def send_once(self, call: str, to: Sequence[str], subject: str, text: str, key: str = "") -> list[str]:
        """Send a mail now, once per key; return the reasons of refused addresses, also from an earlier attempt.

        Args:
            call: The name of the call, used instead of a notice.
            to: Plain addresses.
            key: The same key and mail again sends nothing; without a key each call sends.

        Raises: UsageError for another mail with this key, and if an earlier attempt's delivery is unknown;
            TransientError if the mail was not sent, so that the same key may be tried again.
        """
        from shroff.notices.mailer import DoubtError
        from shroff.notices.store import DROPPED, PARTLY, REFUSED, SENT, UNKNOWN, OutgoingMessage
        from shroff.notices.texts.mails import RenderedText, mail_of

        now_ms, content = self._now_ms(), sha256(repr((call, *to, subject, text)).encode()).digest()
        id = f"call-{sha256(repr((call, key)).encode()).hexdigest()[:24] if key else token_hex(12)}"
        sender = environment.fill_variables(self._systems.mail.text("from", SENDER), "mail")
        mail = mail_of(RenderedText(subject, text, ""), id=id, sender=sender, recipients=to, made_ms=now_ms)
        claimed = OutgoingMessage(id, call, "", content, now_ms, now_ms, "[]", UNKNOWN, shown=_many(len(to)))
        with self._notice_files.told() as store:
            with store.change() as change:
                before = change.letter(id)
                if before is not None and before.state != DROPPED:
                    return _sent_before(before, content, len(to))
                change.put_letter(claimed)
            state, refused = DROPPED, list[str]()
            try:
                with closing(self.open_mailer()) as mailer:
                    refused = [undelivered.reason for undelivered in mailer.send(mail)]
                state = PARTLY if refused else SENT
                if len(refused) >= len(to):
                    state = REFUSED
            except DoubtError:
                state = UNKNOWN
                raise
            finally:
                reason = "; ".join(refused)[:REASON_MAX]
                with store.change() as change:
                    change.put_letter(replace(claimed, state=state, done_ms=now_ms, attempts=1, reason=reason))
        return refused


def _sent_before(before: OutgoingMessage, content: bytes, recipients: int) -> list[str]:
    """Return the refusals of the earlier attempt. Raises: UsageError."""
    from shroff.notices.store import PARTLY, REFUSED, UNKNOWN

    if before.who != content:
        raise UsageError("the idempotency key belongs to another mail: use a new key.")
    if before.state == UNKNOWN:
        raise UsageError("the mail with this idempotency key is being sent, or its delivery is unknown.")
    if before.state == PARTLY:
        return [before.reason]
    return [before.reason] * recipients if before.state == REFUSED else []


def _many(count: int) -> str:
    return f"{count}" if count <= LETTERS_SHOWN else f"more than {LETTERS_SHOWN}"


def with_notices(files: TextMapping, loaded: Loaded) -> Loaded:
    """Add errors and warnings about notices and their texts to a loaded project."""
    if loaded.definitions is None:
        return loaded
    from shroff.notices.definitions import load_notices

    problems: list[Problem] = []
    warnings: list[Problem] = []
    notices = load_notices(files, loaded.definitions, problems, warnings)
    if any(name.startswith(FOLDER) and name.endswith(".j2") for name in files):
        from shroff.notices.texts.templates import NoticeTemplates
        from shroff.notices.texts.text_check import check_texts

        mistakes = check_texts(NoticeTemplates(files), notices)
        problems += [
            Problem(mistake.name, mistake.line, 1 if mistake.line else 0, "", mistake.words) for mistake in mistakes
        ]
    return loaded.beside(problems, warnings) if problems or warnings else loaded
