"""What an opened project says of its labels: those that wait, those that contradict each other, how they mature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from shroff.decisions.definitions import Definitions
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.cases.labels import Conflict, Maturity
    from shroff.decisions.history import Waiting
    from shroff.decisions.notebook import Moment


class LabelViews(ABC):
    """What the labels of a project say together. Each call reads the log as it is then."""

    __slots__ = ()

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    def pending(self, *, as_of: Moment | None = None) -> list[Waiting]:
        """The labels that wait for their event, in the order of arrival; of a moment, those known by then."""
        from shroff.decisions.history import waiting_row
        from shroff.decisions.notebook import moment_ms

        as_of_ms = moment_ms(as_of)
        with self.reading() as log:
            rows = [waiting_row(one) for one in log.waiting_all()]
        return [one for one in rows if as_of_ms is None or one.known_at_ms <= as_of_ms]

    def conflicts(self, *, as_of: Moment | None = None) -> list[Conflict]:
        """Events of which fraud and genuine were said by a moment, in the order of the newest label."""
        from shroff.cases.labels import conflicts
        from shroff.decisions.notebook import moment_ms

        with self.reading() as log:
            return conflicts(log, self.definitions, moment_ms(as_of))

    def maturity(self, *, as_of: Moment | None = None, days: int | None = None) -> Maturity:
        """How many frauds are known n days after their event (see `cases.labels.maturity`)."""
        from shroff.cases.labels import maturity
        from shroff.decisions.notebook import moment_ms

        definitions = self.definitions
        friendly = {name: one.friendly_reasons for name, one in definitions.models.items()}
        with self.reading() as log:
            return maturity(log, definitions, moment_ms(as_of), days, friendly)
