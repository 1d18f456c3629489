"""A report of figures as stored, and its text in a mail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from shroff.json_types import JsonObject
from shroff.plugins.language import HOUR_MS
from shroff.plugins.reports import (
    MINUS,
    POINTS,
    WORDS,
    count_text,
    covered,
    day_text,
    moment_text,
    money_text,
    plain,
    share_text,
)
from shroff.plugins.values import FrozenStruct
from shroff_plugins.analytics.report_keys import BEFORE, SHOWN

if TYPE_CHECKING:
    from shroff.plugins.events import Settings

DASH = "\u2013"  # for a missing value, such as a quotient with the denominator 0
BARS = "▁▂▃▄▅▆▇█"
MARKS = 20  # characters of the longest bar of a step
SILENT_MS = 6 * HOUR_MS  # without an event at the end of the day, before a report mentions it
Plain = int | float | str | bool | None


class CountedFigure(FrozenStruct):
    """A figure on the last days, money in smallest units; `why` is the reason if it is not available."""

    name: str
    label: str
    form: str
    values: list[Plain]
    why: str = ""


class CountedStep(FrozenStruct):
    """Number of users who dropped off at a step of a funnel on a day, and on each of the days before.

    Each number is what the funnel counts for that day alone. `before` is empty if the log begins after the first of
    these days.
    """

    step: str
    count: int
    before: list[int]


class CountedFunnel(FrozenStruct):
    """The steps of a funnel; `why` is the reason if they are not available."""

    name: str
    steps: list[CountedStep]
    why: str = ""


class CountedReport(FrozenStruct):
    """Figures of a report; `newest_ms` is the time of the newest event at that time, None without events."""

    figures: list[CountedFigure]
    funnels: list[CountedFunnel]
    newest_ms: int | None = None


def counted_values(report: CountedReport, settings: Settings, language: str, zone: str, start_ms: int) -> JsonObject:
    texts = WORDS[language]
    project = plain(settings.name)
    day = day_text(start_ms, zone, language)
    return {
        "words": texts,
        "language": language,
        "subject": texts["figures_subject"].format(project=project, day=day),
        "title": texts["figures"].format(day=day),
        "project": project,
        "zone": zone,
        "day": day,
        "span": texts["from_to"].format(first=day_text(_back(start_ms, SHOWN - 1, zone), zone, language), last=day),
        "note": _note(report, start_ms, day, zone, language),
        "figures": _drop_repeats([_figure(settings, figure, language) for figure in report.figures]),
        "funnels": [_steps(funnel, language) for funnel in report.funnels],
    }


def _back(start_ms: int, days: int, zone: str) -> int:
    moment = datetime.fromtimestamp(start_ms / 1_000, ZoneInfo(zone)) - timedelta(days)
    return round(moment.timestamp() * 1_000)


def _note(report: CountedReport, start_ms: int, day: str, zone: str, language: str) -> str:
    if report.newest_ms is None:
        return WORDS[language]["no_events"]
    if report.newest_ms >= _back(start_ms, -1, zone) - SILENT_MS:
        return ""
    return WORDS[language]["newest"].format(moment=moment_text(report.newest_ms, zone, language), day=day)


def _figure(settings: Settings, figure: CountedFigure, language: str) -> JsonObject:
    numbers = [value if isinstance(value, int | float) else None for value in figure.values]
    has_chart = sum(number is not None for number in numbers) > 1
    lengths = _lengths([number or 0 for number in numbers]) if has_chart else []
    return {
        "name": figure.name,
        "label": plain(figure.label),
        "is_there": not figure.why,
        "value": "" if figure.why else _text(settings, figure.form, figure.values[-1], language),
        "why": covered(figure.why),
        "bars": [{"percent": length} for length in lengths],
        "marks": "".join(BARS[min(length * len(BARS) // 100, len(BARS) - 1)] for length in lengths),
    }


def _drop_repeats(rows: list[JsonObject]) -> list[JsonObject]:
    """Empty the reason of each row whose reason an earlier row has."""
    shown_reasons = set[str]()
    for row in rows:
        reason = row["why"]
        row["why"] = "" if row["why"] in shown_reasons else row["why"]
        shown_reasons.add(reason)
    return rows


def _lengths(numbers: Sequence[float]) -> list[int]:
    """Return lengths of bars in percent of the longest; 0 for values below zero."""
    largest = max(numbers, default=0)
    return [round(100 * max(number, 0) / largest) if largest > 0 else 0 for number in numbers]


def _text(settings: Settings, form: str, value: Plain, language: str) -> str:
    if value is None:
        return DASH
    if isinstance(value, str | bool):
        return plain(str(value))
    if form == "percent":
        return share_text(value, language)
    if form == "money":
        return money_text(int(value), settings.money_places, settings.currency, language)
    return count_text(value, language) if isinstance(value, int) else _decimal(value, language)


def _decimal(value: float, language: str, decimals: int = 2) -> str:
    thousands, point = POINTS[language]
    text = f"{abs(value):,.{decimals}f}".replace(",", "\0").replace(".", point).replace("\0", thousands)
    return f"{MINUS if value < 0 else ''}{text}"


def _steps(funnel: CountedFunnel, language: str) -> JsonObject:
    texts = WORDS[language]
    means = [sum(step.before) / BEFORE if step.before else None for step in funnel.steps]
    largest = max([*(step.count for step in funnel.steps), *(mean or 0 for mean in means)], default=0) or 1
    rows = [
        {
            "step": step.step.replace("_", " ").capitalize(),
            "marks": "#" * round(MARKS * step.count / largest),
            "count": count_text(step.count, language),
            "mean": DASH if mean is None else _decimal(mean, language, 1),
            "change": _change(step.count, mean, language),
            "percent": round(100 * step.count / largest),
            "mean_percent": round(100 * (mean or 0) / largest),
        }
        for step, mean in zip(funnel.steps, means, strict=True)
    ]
    note = texts["no_days_before"] if None in means else ""
    return {"name": funnel.name.replace("_", " "), "why": covered(funnel.why), "note": note, "steps": rows}


def _change(count: int, mean: float | None, language: str) -> str:
    """Format by how much a count is above or below a mean; a dash if that is missing or 0."""
    if not mean:
        return DASH
    share = 100 * (count - mean) / mean
    sign = "+" if share >= 0 else MINUS
    return f"{sign}{_decimal(abs(share), language, 0)}\u00a0%"
