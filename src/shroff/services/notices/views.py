"""Notices of an opened project: services that send them, previews, tests, reports and their state."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import DefinitionError
from shroff.events import hash_keys
from shroff.language.values import day_named
from shroff.project.settings.system import System
from shroff.runtime import environment
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.cases.project_cases import ProjectCases
from shroff.services.jobs.project_jobs import failing_schedules
from shroff.services.labels.reports import LabelReports
from shroff.services.lake.project_lake import Lakes
from shroff.services.notices.files import SENDER, NoticeFiles, SentLetters
from shroff.services.parts import ProjectPart
from shroff.services.project_files import FileVersions, intake_of
from shroff.services.sources.pulled_files import PulledFiles
from shroff.services.sources.pushed import PushedSources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from shroff.notices.customer_confirmation import CustomerConfirmation
    from shroff.notices.definitions import Notice
    from shroff.notices.mailer import Mail
    from shroff.notices.notification_worker import NoticeWorker
    from shroff.notices.services import NoticeServices
    from shroff.services.results.operations import Results
    from shroff.streams.log import Log
    from shroff.streams.sink import Sink
    from shroff.streams.sink_cursor import DeliveryHealth, SinkRoute
    from shroff.worker.outbox import SinkState

URL = "http://localhost:8080"
PROGRAMMES_SHOWN = 5  # ratios in a mail
LAKE = "./lake"  # documents go here without a lake
KEY = "shroff question 1"  # the purpose of the key that signs links
FOLLOWED = {"decision": "decisions", "verdict": "labels"}  # rows of the log that trigger notices


class NoticeViews(ProjectPart):
    """Notifications of a project."""

    _label_reports: LabelReports
    _cases: ProjectCases
    _pushed: PushedSources
    _lake: Lakes
    _letters: SentLetters
    _notice_files: NoticeFiles
    _outside: AdapterFactory

    # ---- what telling takes

    def services(self) -> NoticeServices:
        """Return the project's services for notices, by the active version or the files. Nothing is opened yet.

        Raises: UsageError if shroff.yaml uses an environment variable that is not set.
        """
        from shroff.notices.services import NoticeServices
        from shroff.notices.texts.letters import LetterSender
        from shroff.notices.texts.templates import NoticeTemplates
        from shroff.project.definitions import load_definitions

        definitions, systems = self._definitions, self._systems
        files = self._notice_files.files()
        web = systems.web
        sender = LetterSender(
            web.text("name", definitions.settings.name),
            systems.public_url or self._context.served_at or URL,
            web.text("help"),
        )
        return NoticeServices(
            definitions,
            self._notice_files.declared,
            NoticeTemplates(files),
            sender,
            environment.fill_variables(systems.mail.text("from", SENDER), "mail"),
            hash_keys.key_for(self._paths, KEY, self._log.refuse_a_second_key),
            self._now_ms,
            lambda: self._log.open(read_only=True),
            self._notice_files.open_store,
            self._letters.open_mailer,
            self._addresses_of,
            self._hook,
            lambda: self._lake.objects_at({"to": LAKE} if self._systems.lake is None else self._systems.lake.options),
            self._label_reports.known_by,
            self._estimates,
            self._programmes,
            self._cases.backlog,
            lambda notice, day: notice.count_report(self._context, day),
            self._paths.mail,
            systems.mails_kept_ms,
            lambda files: load_definitions(files, self._log.hasher, read=self._context.read_once).or_raise(),
            self._context.taken,
            self.services,
            self.inactive,
            partial(config.file_stamps, self._paths.folder),
            self._source_troubles,
            partial(failing_schedules, self._context),
        )

    def _estimates(self, zone: str) -> list[tuple[str, str, str]]:
        rows = self._results(zone).rows
        return [
            (f"{row.start}", row.estimate.low, row.estimate.high) for row in rows if row.estimate and not row.mature
        ]

    def _programmes(self, zone: str) -> list[str]:
        if self._systems.scheme_programmes is None:
            return []
        return [str(ratio) for ratio in self._results(zone).programmes[:PROGRAMMES_SHOWN]]

    def _results(self, zone: str) -> Results:
        from shroff.services.project import Project
        from shroff.services.results.operations import ShowResults

        return Project(self._context).run(ShowResults(zone=zone))

    def _source_troubles(self) -> Iterator[tuple[str, str, int]]:
        from shroff.services.experiments.guards import guard_troubles

        for name, words, at_ms in (*self._pushed.troubles(), *PulledFiles(self._context).troubles()):
            yield f"source {name}", words, at_ms
        yield from guard_troubles(self._context)

    def _addresses_of(self, who: str) -> list[str]:
        from shroff.people.addresses import is_address

        with closing(self._outside.open_people()) as store, store.look() as look:
            users = [user for user in look.users() if who in {user.role.value, user.id} and not user.is_disabled]
        return sorted({user.email for user in users if is_address(user.email)})

    def _hook(self, notice: Notice) -> Sink:
        options = {"url": notice.url, "secret": notice.secret or notice.url}  # a chat's URL is a secret itself
        return self._outside.open_sink(f"{self._definitions.settings.name}-{notice.name}", System("webhook", options))

    # ---- telling

    def begin_telling(self, log: Log) -> None:
        """Record in the log where notices begin, unless recorded. Raises: as the log's `append`."""
        if self._notice_files.tells():
            from shroff.notices.notification_worker import begun_at

            begun_at(log)

    def telling(
        self, log: Log, others: Callable[[], Sequence[DeliveryHealth]]
    ) -> AbstractContextManager[NoticeWorker | None]:
        """Send notices while this process writes the log (see `notices.notification_worker.telling`)."""
        if not self._notice_files.tells():
            return nullcontext(None)
        from shroff.notices.notification_worker import telling

        return telling(self.services(), log, others)

    def routes(self) -> list[SinkRoute]:
        """Return the routes from decisions and labels to notices; they begin with new ones."""
        from shroff.notices.triggers import DecisionNotices, VerdictNotices
        from shroff.streams.sink_cursor import SinkRoute
        from shroff.worker.outbox import OF_NOTICE

        on = [notice for notice in self._notice_files.declared.values() if notice.on in FOLLOWED]
        services = self.services() if on else None
        routes = []
        for notice in on:

            def opened(notice: Notice = notice) -> Sink:
                assert services is not None
                return (DecisionNotices if notice.on == DecisionNotices.on else VerdictNotices)(services, notice)

            take = FOLLOWED[notice.on]
            routes.append(SinkRoute(OF_NOTICE + notice.name, opened, take, notice.outcomes, from_now=True))
        return routes

    def check(self) -> None:
        """Raises: UsageError if these files cannot notify anybody, because a variable is not set."""
        if self._notice_files.tells():
            self.services()

    def confirming(self) -> CustomerConfirmation:
        """Return the handler of customers' answers; the caller closes it. It opens nothing before its first use."""
        from shroff.notices.customer_confirmation import CustomerConfirmation

        return CustomerConfirmation(self.services, self._label_request)

    def _label_request(self, label: bytes) -> tuple[str, bytes]:
        """Return kind and body of a label request; the label is no older than its event."""
        from shroff.events.intake import undated
        from shroff.events.mapping import LABEL
        from shroff.worker.inbox import LABELS, labels_request
        from shroff.worker.request_bodies import RequestReader

        definitions = self._definitions
        reader = RequestReader(definitions, intake_of(self._context, keeps_hashes=True), self._now_ms)
        submission = undated(reader.one(LABEL, label, "confirm"))
        return LABELS, labels_request([submission], definitions.settings.money_places)

    # ---- for people

    def states(self) -> list[SinkState]:
        """Get the state of notices: pending and refused messages. Raises: UsageError without a log."""
        from shroff.notices.store import FAILED, OPEN
        from shroff.streams.sink_cursor import Trouble
        from shroff.worker.outbox import SinkState, sink_states

        if not self._notice_files.declared:
            return []
        with self._log.reading() as log:
            states, rows = sink_states(log, notice_systems(self._notice_files.declared)), log.counts().outbox
        with self._notice_files.told() as store, store.look() as look:
            counts, waiting, failing = (look.count_letters([OPEN, *FAILED]), look.count_waiting(), look.failing())
        waiting, lost = waiting + counts.pop(OPEN, 0), sum(counts.values())
        kind = "files" if self._systems.mails_are_files else self._systems.mailer.kind
        trouble = Trouble(failing[0].reason, failing[0].made_ms) if failing else None
        return [*states, SinkState("notices", kind, "messages", None, rows + waiting, trouble, lost)]

    def inactive(self, log: Log) -> list[str]:
        """List inactive notices of the project's files by name; none if the files have errors."""
        with suppress(DefinitionError):
            return [change.file for change in FileVersions(self._context).unapplied_in(log)]
        return []

    def preview(self, name: str, event: str = "", day: str = "") -> Mail:
        """Preview the mail of a notice for an event, `payment/p-1`; by default the newest that fits.

        For a report, `day` is a day such as `2026-03-01`; by default the last that was due.
        Nothing is sent, and its link answers nothing. Raises: UsageError.
        """
        from shroff.notices.preview import preview

        with closing(self._log.open(read_only=True)) as log:
            return preview(self.services(), self._notice_files.one(name), log, event, day_named(day or None, "the day"))

    def make_report(self, name: str, day: str = "", at_ms: int | None = None) -> tuple[date, bool]:
        """Compute the report of a day, and let the process that writes the log send it once; return the day, and
        whether the report is new.

        Args:
            day: As `2026-03-01`; by default the day before `at_ms` (default: now).

        Raises: UsageError if the notice is no report, or `day` is invalid.
        """
        from shroff.notices.preview import make_report

        notice = self._notice_files.one(name)
        of, now_ms = day_named(day or None, "the day"), self._now_ms()
        with closing(self._log.open(read_only=True)) as log:
            return make_report(self.services(), notice, log, of, now_ms if at_ms is None else at_ms)

    def test(self, name: str, to: str, event: str = "", day: str = "") -> list[str]:
        """Send the mail of `preview` to an address; return the reason if it was refused.

        Raises: UsageError, also for an invalid address; TransientError if the server cannot be reached.
        """
        from shroff.notices.preview import addressed

        mail = addressed(self.preview(name, event, day), to)
        with closing(self._letters.open_mailer()) as mailer:
            return [undelivered.reason for undelivered in mailer.send(mail)]


def notice_systems(declared: Mapping[str, Notice]) -> dict[str, System]:
    """Map route names to the channels of notices on decisions and verdicts."""
    from shroff.worker.outbox import OF_NOTICE

    return {OF_NOTICE + name: System(notice.channel, {}) for name, notice in declared.items() if notice.on in FOLLOWED}
