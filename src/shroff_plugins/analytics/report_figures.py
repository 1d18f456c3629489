"""Figures of reports of an opened project, computed from log and lake."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from shroff.plugins.events import time_text
from shroff.plugins.language import parse_decimal, rescale_half_even, show, to_real
from shroff.plugins.operations import cut
from shroff_plugins.analytics.count_operations import KeyAtMoment, facts_asked
from shroff_plugins.analytics.counts import history_of
from shroff_plugins.analytics.figures import FigureQuestion, answer_figures, drop_offs_of
from shroff_plugins.analytics.funnel_operations import funnel_named
from shroff_plugins.analytics.report_keys import why_not
from shroff_plugins.analytics.report_text import CountedFigure, CountedFunnel, CountedReport, CountedStep, Plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from shroff.plugins.language import Value
    from shroff.plugins.project import ProjectContext
    from shroff_plugins.analytics.figures_report import ReportContent
    from shroff_plugins.analytics.report_keys import Figure, FigureValues


LABEL_MAX = 100
WHY_MAX = 500
_INT64 = 1 << 63


def count_report(context: ProjectContext, content: ReportContent, zone: str, day: date) -> CountedReport:
    """Count the figures and funnels of a notice; what is not available has a reason instead."""
    decimals = context.definitions.settings.money_places
    values = figures_of(context, content.figures, day, zone) if content.figures else {}
    visible = [figure for figure in content.figures.values() if not figure.is_hidden]
    figures = [_counted_figure(figure, values[figure.name], decimals) for figure in visible]
    try:
        with context.log.reading() as log:
            newest_ms = log.watermark_ms()
    except Exception:  # noqa: BLE001 - the reason why the figures are not available
        newest_ms = _INT64 - 1  # a report does not also say that events are missing
    return CountedReport(figures, [_funnel(context, name, day, zone) for name in content.funnels], newest_ms)


def _funnel(context: ProjectContext, name: str, day: date, zone: str) -> CountedFunnel:
    try:
        steps = drop_offs(context, name, day, zone)
    except Exception as error:  # noqa: BLE001 - the rest of the report is needed anyway
        return CountedFunnel(name, [], cut(why_not(error), WHY_MAX))
    return CountedFunnel(name, steps)


def _counted_figure(figure: Figure, figure_values: FigureValues, decimals: int) -> CountedFigure:
    form = figure.form or {"money": "money"}.get(figure.type.kind, "number" if figure.type.is_numeric else "text")
    label = figure.label or figure.name.replace("_", " ").capitalize()
    values = [_plain(value, figure, form, decimals) for value in figure_values.values]
    return CountedFigure(figure.name, label[:LABEL_MAX], form, values, cut(figure_values.why, WHY_MAX))


def _plain(value: Value, figure: Figure, form: str, decimals: int) -> Plain:
    """Return a value as stored: money in smallest units, other numbers in whole ones, all else as text."""
    type_ = figure.type
    if value is None:
        return None
    if not type_.is_numeric:
        return show(value, type_, decimals)
    if form == "money":
        is_exact = type_.is_exact
        units = (
            rescale_half_even(int(value), type_.places, decimals) if is_exact else round(float(value) * 10**decimals)
        )
        return units if abs(units) < _INT64 else None
    if type_.is_exact:
        return to_real(int(value), type_.places) if type_.places or abs(int(value)) >= _INT64 else int(value)
    return float(value)


def figures_of(context: ProjectContext, figures: Mapping[str, Figure], day: date, zone: str) -> dict[str, FigureValues]:
    """Return the values of figures on a day and the days before it (see `analytics.figures`)."""

    def fact(figure: Figure, at_ms: int) -> Value:
        entity, _, _ = figure.fact.partition(".")
        query = KeyAtMoment(entity=entity, key=figure.key, as_of=time_text(at_ms), features=(figure.fact,))
        # convert a value of a decision's JSON to one of the language
        value = facts_asked(context, query).features[figure.fact]
        if value is None or not figure.type.is_exact:
            return value
        digits, decimals = parse_decimal(str(value))
        return rescale_half_even(digits, decimals, figure.type.places)

    with ExitStack() as exit_stack:
        question = FigureQuestion(figures, day, zone)
        return answer_figures(question, context.definitions, lambda: history_of(context, exit_stack), fact)


def drop_offs(context: ProjectContext, funnel: str, day: date, zone: str) -> list[CountedStep]:
    """Return the drop-offs of a funnel's steps on a day and on the three days before.

    Raises: UsageError if there is no such funnel; DefinitionError for a mistake in funnels.yaml; others as
    `funnel_operations.count_funnels`.
    """
    declared = funnel_named(context, funnel)
    with ExitStack() as exit_stack:
        return drop_offs_of(declared, day, zone, context.definitions, history_of(context, exit_stack))
