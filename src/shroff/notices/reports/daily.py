"""The daily report: decisions of a day, what became known, how far that is complete, and the backlog."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from shroff.events.definitions import Settings
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.values import DAY_MS, HOUR_MS, day_at, day_start_ms, parse_money
from shroff.notices.added_reports import added_reports
from shroff.notices.definitions import Notice
from shroff.notices.reports.report_figures import Figures, counted_report_of, day_of, figures_of, zone_of
from shroff.notices.services import NoticeServices
from shroff.notices.store import Due
from shroff.notices.texts.localization import count_text, day_text, lasting_text, money_text, plain, share_text
from shroff.notices.texts.words import WORDS
from shroff.notices.triggers import due_of
from shroff.project.policy import OUTCOMES
from shroff.streams.log import LogReader

MARKS = 40  # characters of the longest bar in plain text
OVERDUE_MS = 2 * DAY_MS  # deadlines overdue for longer are shown as a day
LATE_MS = 12 * HOUR_MS  # delay above which a report is no longer made


def report_due(notice: Notice, now_ms: int, begun_ms: int = 0) -> Due | None:
    """Return the report that is due now, for the day before the last time `at` of the notice.

    None if it is too late, or the log began after that time.
    """
    zone = zone_of(notice)
    local_now = datetime.fromtimestamp(now_ms / 1_000, zone)
    day = (
        local_now.date()
        if local_now.hour * 60 + local_now.minute >= notice.at_minute
        else local_now.date() - timedelta(days=1)
    )
    at_ms = day_start_ms(day, zone.key) + notice.at_minute * 60_000
    if now_ms - at_ms > LATE_MS or at_ms < begun_ms or (notice.days > 1 and day.weekday()):
        return None
    return due_for(notice, day - timedelta(days=1), now_ms)


def day_before(notice: Notice, at_ms: int) -> date:
    """Return the day of the report made at a moment; of a weekly report, the last day of the week."""
    day = day_at(at_ms, zone_of(notice).key)
    return day - timedelta(days=1 + (day.weekday() if notice.days > 1 else 0))


def due_for(notice: Notice, day: date, now_ms: int) -> Due:
    """Make the notification of a day's report. Its key is unique for the day, so that each day has one report."""
    return due_of(notice, "report", f"report-{day:%Y-%m-%d}", now_ms, told={"day": f"{day:%Y-%m-%d}"})


def report_values(services: NoticeServices, notice: Notice, due: Due, log: LogReader) -> JsonObject:
    language = notice.language if isinstance(notice.language, str) else "en"
    if notice.added:
        counted_report = counted_report_of(services, notice, due)
        start_ms = day_of(notice, due).start_ms
        settings = services.definitions.settings
        return added_reports()[notice.added].values(counted_report, settings, language, str(notice.zone), start_ms)
    day = day_of(notice, due)
    figures = figures_of(services, notice, due, log)
    labels = WORDS[language]
    texts = _Texts(services.definitions.settings, figures, day.zone.key, language)
    project = plain(services.definitions.settings.name)
    day_title = texts.day(day.start_ms)
    title = labels["report"].format(day=day_title)
    if notice.days > 1:
        day_title = labels["from_to"].format(first=day_title, last=texts.day(day.end_ms - 1))
        title = labels["report_week"].format(days=day_title)
    return {
        "words": labels,
        "language": language,
        "subject": labels["report_subject"].format(project=project, day=day_title),
        "title": title,
        "project": project,
        "zone": day.zone.key,
        "outcomes": texts.outcomes(),
        "is_quiet": not any(figures.counts.values()),
        "findings": texts.findings(),
        "waiting": texts.waiting(due.at_ms),
        "maturity": texts.maturity(),
        "change": texts.change(),
        "programmes": labels["programmes"].format(ratios="; ".join(figures.programmes)) if figures.programmes else "",
        "estimates": texts.estimates(),
        "hours": texts.hours(),
    }


class _Texts:
    def __init__(self, settings: Settings, figures: Figures, zone: str, language: str) -> None:
        self._places = settings.money_places
        self._currency = settings.currency
        self._found = figures
        self._zone = zone
        self._language = language
        self._words = WORDS[language]

    def day(self, at_ms: int) -> str:
        return day_text(at_ms, self._zone, self._language)

    def _count(self, number: int) -> str:
        return count_text(number, self._language)

    def _money(self, units: int | None) -> str:
        return "" if units is None else money_text(units, self._places, self._currency, self._language)

    def outcomes(self) -> list[TextDict]:
        counts = self._found.counts
        money = self._found.money
        rows = [(outcome, counts.get(outcome, 0), money.get(outcome, 0)) for outcome in OUTCOMES]
        rows.append(("together", sum(counts.values()), sum(money.values())))
        return [
            {"name": self._words[name], "count": self._count(count), "money": self._money(units)}
            for name, count, units in rows
        ]

    def findings(self) -> list[tuple[str, str, str]]:
        """Return rows of what became known: name, number, and money if events have amounts."""
        figures = self._found
        money = self._found.found_money
        rows = [
            ("caught", figures.caught, None if money is None else money.caught),
            ("missed", figures.missed, None if money is None else money.missed),
            ("false_alarms", figures.false_alarms, None if money is None else money.false_alarms),
            ("answers_yes", figures.yes, None),
            ("answers_no", figures.no, None),
        ]
        return [(self._words[name], self._count(count), self._money(units)) for name, count, units in rows]

    def waiting(self, at_ms: int) -> list[tuple[str, str]]:
        """Return rows of the open cases when the report was due: number, money, and the earliest deadline."""
        texts = self._words
        figures = self._found
        rows = [(texts["open_cases"], self._count(figures.open))]
        if figures.stake is not None:
            rows.append((texts["at_stake"], self._money(figures.stake)))
        if figures.left_ms is not None:
            rows += [(texts["late_cases"], self._count(figures.late)), self._deadline(figures.left_ms, at_ms)]
        if figures.escalated:
            rows.append((texts["escalated_cases"], self._count(figures.escalated)))
        return rows

    def _deadline(self, left_ms: int, at_ms: int) -> tuple[str, str]:
        """Return label and text of the time to the next deadline, or since it passed; after two days, of its day."""
        texts = self._words
        lasting = lasting_text(abs(left_ms), self._language)
        if left_ms >= 0:
            return texts["time_left"], lasting
        if left_ms > -OVERDUE_MS:
            return texts["overdue"], texts["overdue_by"].format(lasting=lasting)
        day = day_at(at_ms + left_ms, self._zone)
        return texts["overdue"], texts["overdue_since"].format(day=f"{day:%Y-%m-%d}")

    def maturity(self) -> str:
        """Describe the share of frauds known after some days; empty if it is unknown."""
        labels = self._words
        shares = sorted(self._found.known.items())
        texts = [
            labels["maturity_at_one" if days == 1 else "maturity_at"].format(
                share=share_text(share, self._language), days=days
            )
            for days, share in shares
        ]
        return labels["maturity"].format(shares=", ".join(texts)) if texts else ""

    def change(self) -> str:
        """Describe the change from the period before; empty if the log does not have all of it."""
        texts = [
            f"{self._words[name]} {'+' * (share > 0)}{share_text(share, self._language)}"
            for name, share in self._found.change.items()
        ]
        return self._words["compared"].format(changes="; ".join(texts)) if texts else ""

    def estimates(self) -> list[tuple[str, str]]:
        """Return rows of the weeks with outstanding labels: the week, and the interval of its fraud."""
        texts = self._words
        decimals = self._places
        return [
            (
                texts["week_from"].format(day=self.day(day_start_ms(date.fromisoformat(start), self._zone))),
                texts["from_to"].format(
                    first=self._money(parse_money(low, decimals)), last=self._money(parse_money(high, decimals))
                ),
            )
            for start, low, high in self._found.estimates
        ]

    def hours(self) -> Sequence[JsonMapping]:
        counts = [self._found.hours.get(hour, 0) for hour in range(24)]
        largest = max(counts) or 1
        return [
            {
                "hour": hour,
                "count": self._count(count),
                "percent": round(100 * count / largest),
                "marks": "#" * round(MARKS * count / largest),
            }
            for hour, count in enumerate(counts)
        ]
