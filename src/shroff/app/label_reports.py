"""Labels of an opened project: those that wait, those that contradict each other, and how soon frauds are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shroff.app.parts import ProjectPart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.cases.labels import Conflict, Maturity
    from shroff.log.history import ListedWaiting
    from shroff.replay.notebook import Moment


class LabelReports(ProjectPart):
    """Label reports of a project. Each call reads the current log."""

    def pending(self, *, as_of: Moment | None = None) -> list[ListedWaiting]:
        """List unmatched labels in order of arrival; with a time, those known by then."""
        from shroff.log.history import waiting_row
        from shroff.replay.notebook import moment_ms

        as_of_ms = moment_ms(as_of)
        with self._log.reading() as log:
            rows = [waiting_row(label) for label in log.waiting_all()]
        return [row for row in rows if as_of_ms is None or row.known_at_ms <= as_of_ms]

    def conflicts(self, *, as_of: Moment | None = None) -> list[Conflict]:
        """List events with conflicting labels (fraud and genuine) at a time, ordered by their newest label."""
        from shroff.cases.labels import conflicts
        from shroff.replay.notebook import moment_ms

        with self._log.reading() as log:
            return conflicts(log, self._context.definitions, moment_ms(as_of))

    def maturity(self, *, as_of: Moment | None = None, days: int | None = None) -> Maturity:
        """Get the number of frauds known n days after their event (see `cases.labels.maturity`)."""
        from shroff.cases.labels import maturity
        from shroff.log.later_labels import last_moment
        from shroff.replay.notebook import moment_ms

        definitions = self._context.definitions
        friendly = {name: model.friendly_reasons for name, model in definitions.models.items()}
        with self._log.reading() as log:
            as_of_ms = moment_ms(as_of)
            as_of_ms = last_moment(log, self._context.now_ms()) if as_of_ms is None else as_of_ms
            return maturity(log, definitions, as_of_ms or 0, days, friendly)

    def known_by(self, ages_days: Sequence[int]) -> dict[int, float]:
        """Get the share of frauds known after given numbers of days; ages beyond the curve are left out.

        Uses the labels of the last `LOOK_BACK` sequence numbers, so its cost does not grow with the log.
        """
        from shroff.cases.labels import LabelsInMemory, maturity_in
        from shroff.log.later_labels import latest

        definitions = self._context.definitions
        friendly = {name: model.friendly_reasons for name, model in definitions.models.items()}
        with self._log.reading() as log:
            labels = LabelsInMemory(max(0, log.last_seq() - LOOK_BACK))
            labels.follow(log, definitions)
            as_of_ms = latest(log.watermark_ms(), labels.known_at_ms(), self._context.now_ms()) or 0
        points = {
            point.days: point.share for point in maturity_in(labels.histories, as_of_ms, friendly=friendly).points
        }
        return {days: points[days] for days in ages_days if days in points}


LOOK_BACK: Final = 2_000_000  # places whose labels say how soon frauds are known: 0.2 s, and 5 µs for each label
