"""Notices of an opened project: what is declared, what is sent beside the log, and what people may look at and try."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from shroff import config
from shroff.errors import DefinitionError, Problem, ShroffError, UsageError, nearest
from shroff.events import hash_keys
from shroff.language.values import DAY_MS
from shroff.project.definitions import Definitions, Loaded
from shroff.project.settings.systems import System, Systems
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.events.intake import Intake
    from shroff.log.active_files import Change, Taken
    from shroff.monitoring.doctor import Finding
    from shroff.notices.confirming import Confirming
    from shroff.notices.definitions import Notice
    from shroff.notices.mailer import Mail, Mailer
    from shroff.notices.office import Backlog, Office
    from shroff.notices.openings import CasesTold
    from shroff.notices.store import Letter, NoticeStore
    from shroff.notices.telling import Teller
    from shroff.people.access import Who
    from shroff.people.store import PeopleStore
    from shroff.project.read_once import ReadOnce
    from shroff.streams.delivering import Route, SinkHealth
    from shroff.streams.lake import Patient
    from shroff.streams.sink import Sink
    from shroff.worker.outbox import SinkState

FOLDER: Final = "notices/"
SENDER: Final = "shroff@localhost"
URL: Final = "http://localhost:8080"
LAKE: Final = "./lake"  # where documents go, where no lake is named
LETTERS_SHOWN: Final = 999  # that are counted
KEY: Final = "shroff question 1"  # the purpose of the key that signs links


class NoticeViews:
    """What has to do with notices in an opened project."""

    __slots__ = ()

    places: config.Places
    now_ms: Callable[[], int]
    served_at: str
    read_once: ReadOnce
    taken: Taken

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @property
    @abstractmethod
    def systems(self) -> Systems:
        """The outside systems of the project."""

    @property
    @abstractmethod
    def hasher(self) -> Callable[[str], str]:
        """What stands for the clear values of hashed fields."""

    @property
    @abstractmethod
    def who(self) -> Who:
        """The caller."""

    @abstractmethod
    def open_log(self, *, read_only: bool) -> Log:
        """The log, to be closed by the caller."""

    @abstractmethod
    def open_people(self) -> PeopleStore:
        """Where people are kept, to be closed by the caller."""

    @abstractmethod
    def open_sink(self, name: str, system: System) -> Sink:
        """A sink by its settings, and a name that no other project's has."""

    @abstractmethod
    def _adapter_named(self, name: str) -> Callable[..., Any]:
        """The adapter of a name."""

    @abstractmethod
    def _objects_at(self, options: Mapping[str, Any], to: str | None = None) -> AbstractContextManager[Patient]:
        """A folder or bucket by its settings."""

    @abstractmethod
    def intake(self, *, keeps_hashes: bool) -> Intake:
        """The door for files and lines."""

    @abstractmethod
    def known_by(self, ages_days: Sequence[int]) -> dict[int, float]:
        """Which share of the frauds is known after so many days."""

    @abstractmethod
    def backlog(self) -> Backlog:
        """What waits for people now."""

    @abstractmethod
    def _refuse_a_second_key(self) -> None:
        """Raises: StorageError where the log has values that were hashed with a key that is lost."""

    # ---- what is declared

    def with_notices(self, files: Mapping[str, str], loaded: Loaded) -> Loaded:
        """What came of reading a project, with what is wrong with its notices and their texts."""
        if loaded.definitions is None:
            return loaded
        from shroff.notices.definitions import load_notices

        problems: list[Problem] = []
        warnings: list[Problem] = []
        found = load_notices(files, loaded.definitions, problems, warnings)
        if any(name.startswith(FOLDER) and name.endswith(".j2") for name in files):
            from shroff.notices.texts.checking import check_texts
            from shroff.notices.texts.templates import Texts

            mistakes = check_texts(Texts(files), found)
            problems += [Problem(one.name, one.line, 1 if one.line else 0, "", one.words) for one in mistakes]
        return loaded.beside(problems, warnings) if problems or warnings else loaded

    @property
    def notices(self) -> dict[str, Notice]:
        """The notices: in a process that writes the log those that are active, else those of the project's files.

        Raises: DefinitionError.
        """
        from shroff.notices.definitions import load_notices

        return load_notices(self._notice_files(), self.definitions, [], [])

    def _notice_files(self) -> Mapping[str, str]:
        from shroff.log.active_files import NOTICES

        active = self.taken.files
        return config.read_files(self.places.folder, [], (NOTICES,)) if active is None else active

    def notice(self, name: str) -> Notice:
        """One of them. Raises: UsageError where there is none of this name."""
        found = self.notices
        if name not in found:
            hint = nearest(name, found) or f"There is {', '.join(found) or 'none'}."
            raise UsageError(f"there is no notice {name!r}. {hint}")
        return found[name]

    # ---- what telling takes

    def office(self) -> Office:
        """The project as notices see it, by the notices that are active, or its files. Nothing is opened yet.

        Raises: UsageError where shroff.yaml names a variable that is not set.
        """
        from shroff.notices.office import Office
        from shroff.notices.texts.letters import Sender
        from shroff.notices.texts.templates import Texts
        from shroff.project.definitions import load_definitions

        definitions, systems = self.definitions, self.systems
        files = self._notice_files()
        web = systems.web
        sender = Sender(
            web.text("name", definitions.settings.name),
            systems.public_url or self.served_at or URL,
            web.text("help"),
        )
        return Office(
            definitions,
            self.notices,
            Texts(files),
            sender,
            config.filled(systems.mail.text("from", SENDER), "mail"),
            hash_keys.key_for(self.places, KEY, self._refuse_a_second_key),
            self.now_ms,
            lambda: self.open_log(read_only=True),
            self.open_notices,
            self.open_mailer,
            self._addresses_of,
            self._hook,
            self._lake_of_documents,
            self.known_by,
            self.backlog,
            self._sweep_mails,
            self._remove_mail,
            lambda files: load_definitions(files, self.hasher, read=self.read_once).or_raise(),
            self.taken,
            self.office,
            self.inactive,
            self.file_stamps,
        )

    def open_notices(self) -> NoticeStore:
        """Where notices are kept, to be closed by the caller."""
        return self.notices_beside(self.open_people())

    def case_notices(self, people: PeopleStore, log: Log) -> CasesTold | None:
        """What keeps notifications of cases that open, in changes of these people; None where no notice is on cases."""
        found = [one for one in self.notices.values() if one.on == "case"]
        if not found:
            return None
        from shroff.notices.facts import Facts
        from shroff.notices.openings import CasesTold

        return CasesTold(found, Facts(self.definitions), self.notices_beside(people), log, self.now_ms)

    def notices_beside(self, people: PeopleStore) -> NoticeStore:
        """Where notices are kept, by the connections of people in the same database, whose store closes them."""
        store: NoticeStore = self._adapter_named("notices.sql")(people)
        return store

    def open_mailer(self) -> Mailer:
        """What hands mails over, to be closed by the caller. Raises: UsageError for settings that cannot be."""
        system = self.systems.mailer
        adapter = self._adapter_named(f"mailer.{system.kind}")
        if self.systems.mails_are_files:
            folder: Mailer = adapter(self.places.mail)
            return folder
        own: Mailer = adapter(self.systems.settled("mailer", system, self.places.folder))
        return own

    def _addresses_of(self, role: str) -> list[str]:
        """The addresses of the users of a role that have one and may sign in."""
        from shroff.people.addresses import is_address

        with closing(self.open_people()) as store, store.look() as look:
            users = [one for one in look.users() if one.role.value == role and not one.is_disabled]
        return sorted({one.email for one in users if is_address(one.email)})

    def _hook(self, notice: Notice) -> Sink:
        options = {"url": notice.url, "secret": notice.secret}
        return self.open_sink(f"{self.definitions.settings.name}-{notice.name}", System("webhook", options))

    def _lake_of_documents(self) -> AbstractContextManager[Patient]:
        """The lake, or a folder of the project where none is named."""
        return self._objects_at({"to": LAKE} if self.systems.lake is None else self.systems.lake.options)

    # ---- what is kept of mails

    def _sweep_mails(self) -> int:
        from shroff.notices.mailbox import remove_older

        return remove_older(self.places.mail, self.now_ms() - self.systems.mails_kept_ms)

    def _remove_mail(self, id: str) -> None:
        from shroff.notices.mailbox import kept_of

        for path in kept_of(self.places.mail, [id]):
            path.unlink(missing_ok=True)

    def forget_mails(self, events: Sequence[str], of: str | None) -> tuple[int, int]:
        """Remove the mails about these events that lie as files, and what is kept of whom any mail was for.

        As `Erasing.forget_mails`. Tests of notices are removed, too: nobody knows of which event one is.
        """
        from shroff.notices.mailbox import kept_of
        from shroff.notices.trying import preview_id
        from shroff.people.audit import Act

        with self.told() as store:
            with store.look() as look:
                letters = [one.id for one in look.letters_about(events)]
                asked = look.questions_about(events)
            ids = [*letters, *(one.letter for one in asked), *map(preview_id, self.notices)]
            files = kept_of(self.places.mail, ids)
            if of is not None and (files or letters or asked):
                told = {"mails": len(files), "letters": len(letters)}
                with store.change() as change:
                    change.people.audit(Act(self.who, "mail.erase", of, None, told), self.now_ms())
                    change.forget(letters, events)
                for path in files:
                    path.unlink(missing_ok=True)
        return len(files), len(letters)

    # ---- telling

    def tells(self) -> bool:
        """Whether there is anything to do beside the log: notices, or rules that name somebody to be told."""
        return bool(self.notices) or any(rule.notify for rule in self.definitions.rules)

    def begin_telling(self, log: Log) -> None:
        """Note in the log where notices begin, where that is not known yet. Raises: as the log's `append`."""
        if self.tells():
            from shroff.notices.telling import begun_at

            begun_at(log)

    def telling(self, log: Log, others: Callable[[], Sequence[SinkHealth]]) -> AbstractContextManager[Teller | None]:
        """Tell while this process writes the log (see `notices.telling.telling`)."""
        if not self.tells():
            return nullcontext(None)
        from shroff.notices.telling import telling

        return telling(self.office(), log, others)

    def notice_routes(self) -> list[Route]:
        """What carries decisions to notices on them; they begin with what comes from then on."""
        from shroff.notices.raising import DecisionsTold
        from shroff.streams.delivering import Route

        on = self._on_decisions()
        office = self.office() if on else None
        found = []
        for notice in on:

            def opened(notice: Notice = notice) -> Sink:
                assert office is not None
                return DecisionsTold(office, notice)

            found.append(Route(f"notice {notice.name}", opened, "decisions", notice.outcomes, from_now=True))
        return found

    def check_telling(self) -> None:
        """Raises: UsageError where nobody can be told by these files: a variable that they name is not set."""
        if self.tells():
            self.office()

    def _on_decisions(self) -> list[Notice]:
        return [one for one in self.notices.values() if one.on == "decision"]

    def confirming(self) -> Confirming:
        """What answers customers, to be closed by the caller. Nothing is opened before it is first asked."""
        from shroff.notices.confirming import Confirming

        return Confirming(self.office, self._label_request)

    def _label_request(self, label: bytes) -> tuple[str, bytes]:
        """The kind and body of a request to the log to take a label, by its JSON; it is no older than its event."""
        from shroff.events.intake import undated
        from shroff.events.mapping import LABEL
        from shroff.worker.inbox import LABELS, labels_request
        from shroff.worker.posted import PostReader

        definitions = self.definitions
        reader = PostReader(definitions, self.intake(keeps_hashes=True), self.now_ms)
        submission = undated(reader.one(LABEL, label, "confirm"))
        return LABELS, labels_request([submission], definitions.settings.money_places)

    # ---- for people

    def notice_states(self) -> list[SinkState]:
        """How far notices are: what waits to be sent, and what was refused. Raises: UsageError without a log."""
        from shroff.notices.store import OPEN, REFUSED, UNKNOWN
        from shroff.worker.outbox import SinkState, sink_states

        if not self.notices:
            return []
        routes = {f"notice {one.name}": System(one.channel, {}) for one in self._on_decisions()}
        with self.reading() as log:
            found, rows = sink_states(log, routes), log.counts().outbox
        with self.told() as store, store.look() as look:
            waiting = look.count_waiting() + len(look.letters([OPEN], limit=LETTERS_SHOWN + 1))
            lost = len(look.letters([REFUSED, UNKNOWN], limit=LETTERS_SHOWN + 1))
        kind = "files" if self.systems.mails_are_files else self.systems.mailer.kind
        return [*found, SinkState("notices", kind, "messages", None, rows + waiting, None, lost)]

    def inactive(self, log: Log) -> list[str]:
        """The names of what the project's files have that is not active; none where they have mistakes."""
        with suppress(DefinitionError):
            fresh = self.as_in_files()
            return [one.file for one in fresh.changes_in(log, fresh.definitions)]
        return []

    @abstractmethod
    def as_in_files(self) -> NoticeViews:
        """The whole project with its files as they are now."""

    @abstractmethod
    def changes_in(self, log: Log, definitions: Definitions) -> Sequence[Change]:
        """What these definitions, and the files beside them, have that is not active."""

    @abstractmethod
    def file_stamps(self) -> Sequence[Hashable]:
        """What shows that a file of the project has changed."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    def look_at_mail(self) -> Finding:
        """What the doctor says of notices: mails, calls and documents that did not leave, or not as they should."""
        from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
        from shroff.notices.sending import SHIPPED
        from shroff.notices.store import OPEN, REFUSED, SENT, UNKNOWN

        own = {"smtp": "a mail server"}.get(self.systems.mailer.kind, self.systems.mailer.kind)
        where = f"files in {self.places.mail}" if self.systems.mails_are_files else own
        if not self.notices:
            return Finding("mail", OK, f"no notice is declared; mails would go to {where}")
        try:
            with self.told() as store, store.look() as look:
                found = {one: look.letters([one], limit=LETTERS_SHOWN + 1) for one in (OPEN, SENT, REFUSED, UNKNOWN)}
        except (ShroffError, OSError) as error:
            return Finding("mail", NOTE, f"what was sent cannot be read: {error}")
        counts = {name: len(rows) for name, rows in found.items()}
        if counts[REFUSED] or counts[UNKNOWN]:
            words = f"{_many(counts[REFUSED])} refused, {_many(counts[UNKNOWN])} with unknown delivery"
            cure = (
                "'shroff notices letters' shows the reasons. 'shroff notices retry LETTER' sends one again, 'shroff "
                "notices drop LETTER' gives it up."
            )
            return Finding("mail", WRONG, words, cure)
        since_ms = self.now_ms() - DAY_MS
        failed = [one for one in found[SENT] if one.done_ms > since_ms and SHIPPED in one.reason]
        if failed:
            words = f"{_many(len(failed))} sent in the last day without the project's own text: {failed[0].reason}"
            return Finding("mail", WRONG, words, "Correct the text, then 'shroff check' and 'shroff apply'.")
        waits = f", {_many(counts[OPEN])} waiting" if counts[OPEN] else ""
        return Finding("mail", OK, f"{_many(counts[SENT])} sent to {where}{waits}, none refused")

    @contextmanager
    def told(self) -> Iterator[NoticeStore]:
        """What is kept of notices: what waits, letters, questions. Raises: UsageError where there is no log yet."""
        with closing(self.open_notices()) as store:
            yield store

    def preview(self, name: str, event: str = "") -> Mail:
        """The mail that a notice would send of an event, `payment/p-1`; left out, the newest that it could be about.

        Nothing is sent, and its link answers nothing. Raises: UsageError.
        """
        from shroff.notices.trying import preview

        with closing(self.open_log(read_only=True)) as log:
            return preview(self.office(), self.notice(name), log, event)

    def test_notice(self, name: str, to: str, event: str = "") -> list[str]:
        """Send what `preview` gives to an address; gives why it was refused, nothing where it was taken.

        Raises: UsageError, also for what is no address; TransientError where the server cannot be reached.
        """
        from shroff.notices.trying import addressed

        mail = addressed(self.preview(name, event), to)
        with closing(self.open_mailer()) as mailer:
            return [one.reason for one in mailer.send(mail)]

    def drop_letter(self, id: str) -> Letter:
        """Give up a letter that was refused, or of which nobody knows. Raises: UsageError for any other."""
        from shroff.notices.trying import given_up

        with self.told() as store:
            return given_up(store, id, self.now_ms())

    def retry_letter(self, id: str) -> Letter:
        """Have a letter that was refused, or of which nobody knows, leave again. Raises: UsageError for any other."""
        from shroff.notices.trying import again

        with self.told() as store:
            return again(store, id, self.now_ms())


def _many(count: int) -> str:
    return f"{count}" if count <= LETTERS_SHOWN else f"more than {LETTERS_SHOWN}"
