"""A report of figures that a notice names: counted when it is due, and how a mail shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import msgspec

from shroff.language.values import HOUR_MS, Value, rescale_half_even, show, to_real
from shroff.notices.definitions import Notice
from shroff.notices.facts import plain
from shroff.notices.services import NoticeServices
from shroff.notices.texts.localization import MINUS, count_text, covered, day_text, moment_text, money_text, share_text
from shroff.notices.texts.words import MARKS as POINTS
from shroff.notices.texts.words import WORDS
from shroff.project.figures import BEFORE, SHOWN, Figure, why_not
from shroff.runtime.texts import cut

if TYPE_CHECKING:
    from shroff.project.figures import FigureValues

DASH: Final = "\u2013"  # where there is no value, such as that of a quotient with the denominator 0
BARS: Final = "▁▂▃▄▅▆▇█"
MARKS: Final = 20  # characters of the longest bar of a step
SILENT_MS: Final = 6 * HOUR_MS  # at the end of the day without an event, before a report says so
LABEL_MAX: Final = 100
WHY_MAX: Final = 500
_INT64: Final = 1 << 63
Plain = int | float | str | bool | None


class CountedFigure(msgspec.Struct, frozen=True):
    """A figure on the last days; of money in smallest units. `why` says why it is not available."""

    name: str
    label: str
    form: str
    values: list[Plain]
    why: str = ""


class CountedStep(msgspec.Struct, frozen=True):
    """How many dropped off at a step, and on the days before."""

    step: str
    count: int
    before: list[int]


class CountedFunnel(msgspec.Struct, frozen=True):
    """The steps of a funnel; `why` says why they are not available."""

    name: str
    steps: list[CountedStep]
    why: str = ""


class CountedReport(msgspec.Struct, frozen=True):
    """Figures of a report. `newest_ms` is the time of the newest event then; None where there was none."""

    figures: list[CountedFigure]
    funnels: list[CountedFunnel]
    newest_ms: int | None = None


def counted_report(services: NoticeServices, notice: Notice, day: date) -> CountedReport:
    """Count what a notice names. Whatever cannot be had says why, so a report always comes of it."""
    zone, places = str(notice.zone), services.definitions.settings.money_places
    found = services.counting.figures(notice.figures, day, zone) if notice.figures else {}
    figures = [_counted(figure, found[name], places) for name, figure in notice.figures.items() if not figure.is_hidden]
    try:
        newest_ms = services.counting.newest_ms()
    except Exception:  # noqa: BLE001 - a log that cannot be read is why the figures are not available
        newest_ms = _INT64 - 1  # so the report does not say besides that events are missing
    return CountedReport(figures, [_funnel(services, name, day, zone) for name in notice.funnels], newest_ms)


def _funnel(services: NoticeServices, name: str, day: date, zone: str) -> CountedFunnel:
    try:
        found = services.counting.drop_offs(name, day, zone)
    except Exception as error:  # noqa: BLE001 - whatever fails, the report has the rest
        return CountedFunnel(name, [], cut(why_not(error), WHY_MAX))
    return CountedFunnel(name, [CountedStep(off_day.step, off_day.count, list(off_day.before)) for off_day in found])


def _counted(figure: Figure, found: FigureValues, places: int) -> CountedFigure:
    form = figure.form or {"money": "money"}.get(figure.type.kind, "number" if figure.type.is_numeric else "text")
    label = figure.label or figure.name.replace("_", " ").capitalize()
    values = [_plain(value, figure, form, places) for value in found.values]
    return CountedFigure(figure.name, label[:LABEL_MAX], form, values, cut(found.why, WHY_MAX))


def _plain(value: Value, figure: Figure, form: str, places: int) -> Plain:
    """A value as it is kept: money in smallest units, other numbers in whole ones, all else as text."""
    type_ = figure.type
    if value is None:
        return None
    if not type_.is_numeric:
        return show(value, type_, places)
    if form == "money":
        is_exact = type_.is_exact
        units = rescale_half_even(int(value), type_.places, places) if is_exact else round(float(value) * 10**places)
        return units if abs(units) < _INT64 else None
    if type_.is_exact:
        return to_real(int(value), type_.places) if type_.places or abs(int(value)) >= _INT64 else int(value)
    return float(value)


# ---- how it is shown


def counted_values(services: NoticeServices, notice: Notice, found: CountedReport, start_ms: int) -> dict[str, Any]:
    """What the text of a report of figures is given."""
    language = notice.language if isinstance(notice.language, str) else "en"
    words, zone = WORDS[language], str(notice.zone)
    project, day = plain(services.definitions.settings.name), day_text(start_ms, zone, language)
    return {
        "words": words,
        "language": language,
        "subject": words["figures_subject"].format(project=project, day=day),
        "title": words["figures"].format(day=day),
        "project": project,
        "zone": zone,
        "day": day,
        "span": words["from_to"].format(first=day_text(_back(start_ms, SHOWN - 1, zone), zone, language), last=day),
        "note": _note(found, start_ms, day, zone, language),
        "figures": _without_repeats([_figure(services, figure, language) for figure in found.figures]),
        "funnels": [_steps(funnel, language) for funnel in found.funnels],
    }


def _back(start_ms: int, days: int, zone: str) -> int:
    """When the day so many days earlier began."""
    at = datetime.fromtimestamp(start_ms / 1_000, ZoneInfo(zone)) - timedelta(days)
    return round(at.timestamp() * 1_000)


def _note(found: CountedReport, start_ms: int, day: str, zone: str, language: str) -> str:
    """That events of the day may be lacking."""
    if found.newest_ms is None:
        return WORDS[language]["no_events"]
    if found.newest_ms >= _back(start_ms, -1, zone) - SILENT_MS:
        return ""
    return WORDS[language]["newest"].format(moment=moment_text(found.newest_ms, zone, language), day=day)


def _figure(services: NoticeServices, figure: CountedFigure, language: str) -> dict[str, Any]:
    numbers = [value if isinstance(value, int | float) else None for value in figure.values]
    has_chart = sum(number is not None for number in numbers) > 1
    lengths = _lengths([number or 0 for number in numbers]) if has_chart else []
    return {
        "name": figure.name,
        "label": plain(figure.label),
        "is_there": not figure.why,
        "value": "" if figure.why else _text(services, figure.form, figure.values[-1], language),
        "why": covered(figure.why),
        "bars": [{"percent": length} for length in lengths],
        "marks": "".join(BARS[min(length * len(BARS) // 100, len(BARS) - 1)] for length in lengths),
    }


def _without_repeats(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows; why something is not available stands at the first of those that have the same reason."""
    told = set[str]()
    for row in rows:
        said, row["why"] = row["why"], "" if row["why"] in told else row["why"]
        told.add(said)
    return rows


def _lengths(numbers: Sequence[float]) -> list[int]:
    """The lengths of bars in percent of the longest; what is below zero has none."""
    most = max(numbers, default=0)
    return [round(100 * max(number, 0) / most) if most > 0 else 0 for number in numbers]


def _text(services: NoticeServices, form: str, value: Plain, language: str) -> str:
    settings = services.definitions.settings
    if value is None:
        return DASH
    if isinstance(value, str | bool):
        return plain(str(value))
    if form == "percent":
        return share_text(value, 1, language)
    if form == "money":
        return money_text(int(value), settings.money_places, settings.currency, language)
    return count_text(value, language) if isinstance(value, int) else _decimal(value, language)


def _decimal(value: float, language: str, places: int = 2) -> str:
    """A number with some places, in the signs of a language."""
    thousands, point = POINTS[language]
    text = f"{abs(value):,.{places}f}".replace(",", "\0").replace(".", point).replace("\0", thousands)
    return f"{MINUS if value < 0 else ''}{text}"


def _steps(funnel: CountedFunnel, language: str) -> dict[str, Any]:
    words = WORDS[language]
    means = [sum(step.before) / BEFORE if step.before else None for step in funnel.steps]
    most = max([*(step.count for step in funnel.steps), *(mean or 0 for mean in means)], default=0) or 1
    rows = [
        {
            "step": step.step.replace("_", " ").capitalize(),
            "marks": "#" * round(MARKS * step.count / most),
            "count": count_text(step.count, language),
            "mean": DASH if mean is None else _decimal(mean, language, 1),
            "change": _change(step.count, mean, language),
            "percent": round(100 * step.count / most),
            "mean_percent": round(100 * (mean or 0) / most),
        }
        for step, mean in zip(funnel.steps, means, strict=True)
    ]
    note = words["no_days_before"] if None in means else ""
    return {"name": funnel.name.replace("_", " "), "why": covered(funnel.why), "note": note, "steps": rows}


def _change(count: int, mean: float | None, language: str) -> str:
    """By how much a count is above or below a mean; a dash where there is none, or it is 0."""
    if not mean:
        return DASH
    share = 100 * (count - mean) / mean
    sign = "+" if share >= 0 else MINUS
    return f"{sign}{_decimal(abs(share), language, 0)}\u00a0%"
