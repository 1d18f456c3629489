"""The figures of reports of an opened project, over log and lake."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from shroff.plugins.events import time_text
from shroff.plugins.language import parse_decimal, rescale_half_even
from shroff_plugins.analytics.count_operations import KeyAtMoment, facts_asked
from shroff_plugins.analytics.figures import FigureQuestion, answer_figures, drop_offs_of
from shroff_plugins.analytics.funnel_operations import funnel_named
from shroff_plugins.analytics.histories import history_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from shroff.plugins.events import Scalar
    from shroff.plugins.language import Type, Value
    from shroff.plugins.project import ProjectContext
    from shroff.plugins.reports import DropOff, Figure, FigureValues


class ReportFigures:
    """Counts what reports show."""

    def __init__(self, context: ProjectContext) -> None:
        self._context = context

    def figures(self, figures: Mapping[str, Figure], day: date, zone: str) -> dict[str, FigureValues]:
        """The values of figures on a day and the days before it (see `analytics.figures`)."""
        question = FigureQuestion(figures, day, zone)
        with ExitStack() as held:
            return answer_figures(
                question, self._context.definitions, lambda: history_of(self._context, held), self._fact
            )

    def drop_offs(self, funnel: str, day: date, zone: str) -> list[DropOff]:
        """The drop-offs of a funnel's steps on a day, beside those of the three days before.

        Raises: UsageError where there is none of this name; DefinitionError for a mistake in funnels.yaml; others as
            `funnel_operations.count_funnels`.
        """
        asked = funnel_named(self._context, funnel)
        with ExitStack() as held:
            return drop_offs_of(asked, day, zone, self._context.definitions, history_of(self._context, held))

    def newest_ms(self) -> int | None:
        """The time of the newest event; None without one."""
        with self._context.log.reading() as log:
            return log.watermark_ms()

    def _fact(self, figure: Figure, at_ms: int) -> Value:
        entity, _, _ = figure.fact.partition(".")
        facts = facts_asked(
            self._context,
            KeyAtMoment(entity=entity, key=figure.key, as_of=time_text(at_ms), features=(figure.fact,)),
        )
        return _typed(facts.features[figure.fact], figure.type)


def _typed(value: Scalar, type_: Type) -> Value:
    """A value of a decision's JSON as the language has it."""
    if value is None or not type_.is_exact:
        return value
    digits, places = parse_decimal(str(value))
    return rescale_half_even(digits, places, type_.places)
