"""The daily report: what was decided on a day, what became known, how far that can be trusted yet, and what waits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.values import DAY_MS, HOUR_MS, day_at, day_start_ms, parse_money
from shroff.notices.added_reports import added_reports
from shroff.notices.definitions import Notice
from shroff.notices.reports.report_figures import Figures, counted_of, day_of, figures_of, zone_of
from shroff.notices.services import NoticeServices
from shroff.notices.store import Due
from shroff.notices.texts.localization import count_text, day_text, lasting_text, money_text, plain, share_text
from shroff.notices.texts.words import WORDS
from shroff.notices.triggers import due_of
from shroff.project.policy import OUTCOMES
from shroff.streams.log import LogReader

MARKS = 40  # characters of the longest bar in plain text
OVERDUE_MS = 2 * DAY_MS  # from which on a deadline is shown as a day
LATE_MS = 12 * HOUR_MS  # a report that is later than this is not made any more


def report_due(notice: Notice, now_ms: int, begun_ms: int = 0) -> Due | None:
    """The report that is due by now: of the day before the last time of day that `at` names.

    None where it is late, and where the log began after that time: what was there then is no day's figures.
    """
    zone = zone_of(notice)
    now = datetime.fromtimestamp(now_ms / 1_000, zone)
    day = now.date() if now.hour * 60 + now.minute >= notice.at_minute else now.date() - timedelta(days=1)
    at_ms = day_start_ms(day, zone.key) + notice.at_minute * 60_000
    if now_ms - at_ms > LATE_MS or at_ms < begun_ms or (notice.days > 1 and day.weekday()):
        return None
    return due_for(notice, day - timedelta(days=1), now_ms)


def day_before(notice: Notice, at_ms: int) -> date:
    """The day that a report is of which is made at a moment, the last one of its week."""
    day = day_at(at_ms, zone_of(notice).key)
    return day - timedelta(days=1 + (day.weekday() if notice.days > 1 else 0))


def due_for(notice: Notice, day: date, now_ms: int) -> Due:
    """The report of a day. Its key is the same however often it is asked for, so that each day has one."""
    return due_of(notice, "report", f"report-{day:%Y-%m-%d}", now_ms, told={"day": f"{day:%Y-%m-%d}"})


def report_values(services: NoticeServices, notice: Notice, due: Due, log: LogReader) -> JsonObject:
    """What a report shows."""
    language = notice.language if isinstance(notice.language, str) else "en"
    if notice.added:
        counted, start_ms = counted_of(services, notice, due), day_of(notice, due).start_ms
        settings = services.definitions.settings
        return added_reports()[notice.added].values(counted, settings, language, str(notice.zone), start_ms)
    day, found = day_of(notice, due), figures_of(services, notice, due, log)
    words = WORDS[language]
    project, shown = plain(services.definitions.settings.name), day_text(day.start_ms, day.zone.key, language)
    title = words["report"].format(day=shown)
    if notice.days > 1:
        shown = words["from_to"].format(first=shown, last=day_text(day.end_ms - 1, day.zone.key, language))
        title = words["report_week"].format(days=shown)
    return {
        "words": words,
        "language": language,
        "subject": words["report_subject"].format(project=project, day=shown),
        "title": title,
        "project": project,
        "zone": day.zone.key,
        "outcomes": _outcomes(services, found, language),
        "is_quiet": not any(found.counts.values()),
        "findings": _findings(services, found, language),
        "waiting": _waiting(services, found, due.at_ms, day.zone.key, language),
        "maturity": _maturity(found, language),
        "change": _change(found, language),
        "estimates": _estimates(services, found, day.zone.key, language),
        "hours": _hours(found, language),
    }


def _outcomes(services: NoticeServices, found: Figures, language: str) -> list[TextDict]:
    settings, words = services.definitions.settings, WORDS[language]

    def row(name: str, count: int, units: int) -> TextDict:
        money = money_text(units, settings.money_places, settings.currency, language)
        return {"name": name, "count": count_text(count, language), "money": money}

    rows = [row(words[outcome], found.counts.get(outcome, 0), found.money.get(outcome, 0)) for outcome in OUTCOMES]
    return [*rows, row(words["together"], sum(found.counts.values()), sum(found.money.values()))]


def _findings(services: NoticeServices, found: Figures, language: str) -> list[tuple[str, str, str]]:
    """What became known: names, numbers, and the money where events have amounts."""
    words, settings, money = WORDS[language], services.definitions.settings, found.found_money

    def row(name: str, count: int, units: int | None = None) -> tuple[str, str, str]:
        said = "" if units is None else money_text(units, settings.money_places, settings.currency, language)
        return words[name], count_text(count, language), said

    return [
        row("caught", found.caught, None if money is None else money.caught),
        row("missed", found.missed, None if money is None else money.missed),
        row("false_alarms", found.false_alarms, None if money is None else money.false_alarms),
        row("answers_yes", found.yes),
        row("answers_no", found.no),
    ]


def _waiting(services: NoticeServices, found: Figures, at_ms: int, zone: str, language: str) -> list[tuple[str, str]]:
    """The open cases when the report was due: how many, their money, and the earliest deadline."""
    words, settings = WORDS[language], services.definitions.settings
    rows = [(words["open_cases"], count_text(found.open, language))]
    if found.stake is not None:
        money = money_text(found.stake, settings.money_places, settings.currency, language)
        rows.append((words["at_stake"], money))
    if found.left_ms is not None:
        rows.append((words["late_cases"], count_text(found.late, language)))
        rows.append(_deadline(found.left_ms, at_ms, zone, language))
    if found.escalated:
        rows.append((words["escalated_cases"], count_text(found.escalated, language)))
    return rows


def _deadline(left_ms: int, at_ms: int, zone: str, language: str) -> tuple[str, str]:
    """How long the next case may wait, or for how long it is overdue: since which day, where that is days ago."""
    words, lasting = WORDS[language], lasting_text(abs(left_ms), language)
    if left_ms >= 0:
        return words["time_left"], lasting
    if left_ms > -OVERDUE_MS:
        return words["overdue"], words["overdue_by"].format(lasting=lasting)
    day = day_at(at_ms + left_ms, zone)
    return words["overdue"], words["overdue_since"].format(day=f"{day:%Y-%m-%d}")


def _maturity(found: Figures, language: str) -> str:
    """How many frauds are known by some ages, in a sentence; nothing where too few are."""
    words = WORDS[language]
    told = [
        words["maturity_at_one" if days == 1 else "maturity_at"].format(share=share_text(share, language), days=days)
        for days, share in sorted(found.known.items())
    ]
    return words["maturity"].format(shares=", ".join(told)) if told else ""


def _change(found: Figures, language: str) -> str:
    """How figures changed since the days before, in a sentence; nothing where these are not all there."""
    words = WORDS[language]
    told = [f"{words[name]} {'+' * (share > 0)}{share_text(share, language)}" for name, share in found.change.items()]
    return words["compared"].format(changes="; ".join(told)) if told else ""


def _estimates(services: NoticeServices, found: Figures, zone: str, language: str) -> list[tuple[str, str]]:
    """Weeks whose labels still come, and what their fraud will come to."""
    words, settings = WORDS[language], services.definitions.settings

    def money(text: str) -> str:
        places = settings.money_places
        return money_text(parse_money(text, places), places, settings.currency, language)

    return [
        (
            words["week_from"].format(day=day_text(day_start_ms(date.fromisoformat(start), zone), zone, language)),
            words["from_to"].format(first=money(low), last=money(high)),
        )
        for start, low, high in found.estimates
    ]


def _hours(found: Figures, language: str) -> Sequence[JsonMapping]:
    most = max(found.hours.values(), default=0) or 1
    return [
        {
            "hour": hour,
            "count": count_text(found.hours.get(hour, 0), language),
            "percent": round(100 * found.hours.get(hour, 0) / most),
            "marks": "#" * round(MARKS * found.hours.get(hour, 0) / most),
        }
        for hour in range(24)
    ]
