"""What an opened project says of its cases, and of its labels: those that wait, those that contradict each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.errors import ReadOnlyError
from shroff.language.yaml import text as yamltext
from shroff.project.definitions import Definitions
from shroff.project.settings.casework import CaseSettings, load_case_settings
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.cases.desk import CaseDesk
    from shroff.cases.erasing import Written
    from shroff.cases.following import Follower, Tells
    from shroff.cases.labels import Conflict, Maturity
    from shroff.cases.reading import Backlog
    from shroff.cases.store import CaseStore
    from shroff.log.history import Waiting
    from shroff.people.access import Who
    from shroff.people.desk import Desk
    from shroff.people.store import PeopleStore
    from shroff.replay.notebook import Moment

LOOK_BACK: Final = 2_000_000  # places whose labels say how soon frauds are known: 0.2 s, and 5 µs for each label


class LabelViews(ABC):
    """What the labels of a project say together. Each call reads the log as it is then."""

    __slots__ = ()

    now_ms: Callable[[], int]

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    def pending(self, *, as_of: Moment | None = None) -> list[Waiting]:
        """The labels that wait for their event, in the order of arrival; of a moment, those known by then."""
        from shroff.log.history import waiting_row
        from shroff.replay.notebook import moment_ms

        as_of_ms = moment_ms(as_of)
        with self.reading() as log:
            rows = [waiting_row(one) for one in log.waiting_all()]
        return [one for one in rows if as_of_ms is None or one.known_at_ms <= as_of_ms]

    def conflicts(self, *, as_of: Moment | None = None) -> list[Conflict]:
        """Events of which fraud and genuine were said by a moment, in the order of the newest label."""
        from shroff.cases.labels import conflicts
        from shroff.replay.notebook import moment_ms

        with self.reading() as log:
            return conflicts(log, self.definitions, moment_ms(as_of))

    def maturity(self, *, as_of: Moment | None = None, days: int | None = None) -> Maturity:
        """How many frauds are known n days after their event (see `cases.labels.maturity`)."""
        from shroff.cases.labels import maturity
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms

        definitions = self.definitions
        friendly = {name: one.friendly_reasons for name, one in definitions.models.items()}
        with self.reading() as log:
            as_of_ms = moment_ms(as_of)
            as_of_ms = last_moment(log, self.now_ms()) if as_of_ms is None else as_of_ms
            return maturity(log, definitions, as_of_ms or 0, days, friendly)

    def known_by(self, ages_days: Sequence[int]) -> dict[int, float]:
        """Which share of the frauds is known after so many days; ages that the curve does not reach are left out.

        By the labels of the last `LOOK_BACK` places, so that it takes no longer as the log grows.
        """
        from shroff.cases.labels import Labels, maturity_in
        from shroff.log.later_labels import latest

        definitions = self.definitions
        friendly = {name: one.friendly_reasons for name, one in definitions.models.items()}
        with self.reading() as log:
            labels = Labels(max(0, log.last_seq() - LOOK_BACK))
            labels.follow(log, definitions)
            as_of_ms = latest(log.watermark_ms(), labels.known_at_ms(), self.now_ms()) or 0
        points = {one.days: one.share for one in maturity_in(labels.histories, as_of_ms, friendly=friendly).points}
        return {days: points[days] for days in ages_days if days in points}


class CaseViews(LabelViews):
    """Cases of an opened project."""

    __slots__ = ()

    places: config.Places
    warnings: list[str]

    @property
    def case_settings(self) -> CaseSettings:
        """What the project says of cases. What is wrong with it is told with all else in its files."""
        text = config.read_files(self.places.folder, []).get(config.PROJECT_FILE, "")
        return load_case_settings(yamltext.read(text, config.PROJECT_FILE, []), [])

    @property
    @abstractmethod
    def who(self) -> Who:
        """The caller."""

    @abstractmethod
    def open_cases(self, people: PeopleStore) -> CaseStore:
        """Where cases are kept: in the database of people, whose store closes it."""

    @abstractmethod
    def people(self) -> AbstractContextManager[Desk]:
        """Where people are."""

    def case_desk(self, people: Desk) -> CaseDesk:
        """What functions about cases work with, beside people's."""
        from shroff.cases.desk import CaseDesk

        definitions = self.definitions
        budgets = [policy.reviews_a_day for policy in definitions.policies.values() if policy.reviews_a_day is not None]
        return CaseDesk(
            self.open_cases(people.store),
            people.store,
            people.now_ms,
            self.case_settings,
            definitions.settings.currency,
            definitions.settings.money_places,
            sum(budgets) if budgets else None,
        )

    @contextmanager
    def cases(self) -> Iterator[CaseDesk]:
        """Cases as of now: what the log has is raised first, and what is due is carried out."""
        from shroff.cases.carrying import carry_out

        with self._raised() as desk:
            with self._as_far_as_written("what is due now was not carried out"):
                carry_out(desk)
            yield desk

    def written_about(self, events: Sequence[str]) -> Written:
        """What people wrote and attached in cases about these events."""
        from shroff.cases.erasing import written_about

        with self.people() as people:
            return written_about(self.case_desk(people), events)

    def forget_written(self, found: Written, of: str) -> None:
        """Remove it. `of` names in the record whose it was."""
        from shroff.cases.erasing import forget

        with self.people() as people:
            forget(self.case_desk(people), self.who, found, of)

    @abstractmethod
    def tells_cases(self, people: PeopleStore, log: Log) -> Tells | None:
        """Notifications of each case that opens, in the transaction of a change of these people; None for none."""

    def case_follower(self, desk: CaseDesk, log: Log) -> Follower:
        """What raises alerts from a log that is open to read."""
        from shroff.cases.following import Follower

        tells = self.tells_cases(desk.people, log)
        return Follower(log, desk.store, desk.settings, desk.money_places, desk.now_ms, tells)

    def backlog(self) -> Backlog:
        """What waits for people now; what the log has is raised first."""
        from shroff.cases.reading import backlog

        with self._raised() as desk:
            return backlog(desk)

    @contextmanager
    def _raised(self) -> Iterator[CaseDesk]:
        """Cases, with all alerts of the log that may be written."""
        with self.people() as people:
            desk = self.case_desk(people)
            with self.reading() as log, self._as_far_as_written("alerts that are not among the cases yet are left out"):
                self.case_follower(desk, log).follow()
            yield desk

    @contextmanager
    def _as_far_as_written(self, words: str) -> Iterator[None]:
        """Go on with what others wrote where cases may only be read, and say what is left out."""
        try:
            yield
        except ReadOnlyError as error:
            self.warnings.append(f"{words}: {error}.")
