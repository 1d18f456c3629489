"""The daily report: what was decided on a day, what became known, how far that can be trusted yet, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from shroff.decisions.policy import OUTCOMES
from shroff.language.values import HOUR_MS
from shroff.notices.definitions import Notice
from shroff.notices.facts import Facts, plain
from shroff.notices.office import Office
from shroff.notices.raising import due_of
from shroff.notices.store import Due, NoticeStore
from shroff.notices.wording import count_text, day_text, lasting_text, money_text, share_text
from shroff.notices.words import WORDS
from shroff.streams.log import Log

MARKS: Final = 40  # characters of the longest bar in plain text
AGES_DAYS: Final = (1, 7, 30)  # at which the maturity of labels is told
LATE_MS: Final = 12 * HOUR_MS  # a report that is later than this is not made any more


def report_due(notice: Notice, now_ms: int) -> Due | None:
    """The report that is due by now: of the day before the last time of day that `at` names; None where it is late."""
    zone = ZoneInfo(notice.zone if isinstance(notice.zone, str) else "UTC")
    now = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone)
    day = now.date() if now.hour * 60 + now.minute >= notice.at_minute else now.date() - timedelta(days=1)
    at_ms = _start_ms(day, zone) + notice.at_minute * 60_000
    if now_ms - at_ms > LATE_MS:
        return None
    of = day - timedelta(days=1)
    return due_of(notice, "report", f"report-{of:%Y-%m-%d}", now_ms, told={"day": f"{of:%Y-%m-%d}"})


def _start_ms(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1_000)


@dataclass(slots=True)
class _Day:
    """What is counted of a day: decisions and money by outcome, and by hour."""

    counts: Counter[str] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)
    hours: Counter[int] = field(default_factory=Counter)
    frauds: Counter[str] = field(default_factory=Counter)  # by the outcome of their event
    genuine: Counter[str] = field(default_factory=Counter)


def report_values(office: Office, notice: Notice, due: Due, log: Log, store: NoticeStore) -> dict[str, Any]:
    """What a report shows. Cost: a pass over the places of the log whose events are of that day, and its labels."""
    told: Mapping[str, str] = msgspec.json.decode(due.told, type=dict[str, str])
    day = date.fromisoformat(told["day"])
    zone_name = notice.zone if isinstance(notice.zone, str) else "UTC"
    language = notice.language if isinstance(notice.language, str) else "en"
    zone = ZoneInfo(zone_name)
    start_ms, end_ms = _start_ms(day, zone), _start_ms(day + timedelta(days=1), zone)
    found = _counted(office, log, start_ms, end_ms, zone)
    words = WORDS[language]
    project, shown = plain(office.definitions.settings.name), day_text(start_ms, zone_name, language)
    return {
        "words": words,
        "language": language,
        "subject": words["report_subject"].format(project=project, day=shown),
        "title": words["report"].format(day=shown),
        "project": project,
        "zone": zone_name,
        "outcomes": _outcomes(office, found, language),
        "findings": _findings(found, store, start_ms, end_ms, language),
        "waiting": _waiting(office, language),
        "maturity": _maturity(office, language),
        "hours": _hours(found, language),
    }


def _counted(office: Office, log: Log, start_ms: int, end_ms: int, zone: ZoneInfo) -> _Day:
    """What was decided of events of the day, and what labels said within it."""
    found, facts = _Day(), Facts(office.definitions)
    after = _place_before(log, start_ms, office.definitions.settings.lateness_ms)
    for rows in log.decisions_after(after):
        ids: dict[str, list[str]] = {}
        for row in rows:
            ids.setdefault(row.event, []).append(row.id)
        records = {(one.type, one.id): one for type_, wanted in ids.items() for one in log.find(type_, wanted).values()}
        for row in rows:
            record = records.get((row.event, row.id))
            if record is None or not start_ms <= record.time_ms < end_ms:
                continue
            found.counts[row.outcome] += 1
            found.hours[datetime.fromtimestamp(record.time_ms / 1_000, UTC).astimezone(zone).hour] += 1
            found.money[row.outcome] += facts.amount_of(record) or 0
    _label_counts(log, found, start_ms, end_ms)
    return found


class _Label(msgspec.Struct):
    """What is read of a stored label."""

    event: str
    verdict: str
    of_type: str = ""


def _label_counts(log: Log, found: _Day, start_ms: int, end_ms: int) -> None:
    """Labels that became known on the day, each event once, by what had been decided of it."""
    verdicts: dict[str, str] = {}
    for records in log.labels_after(_place_before(log, start_ms, 0)):
        for one in records:
            if start_ms <= one.time_ms < end_ms:
                label = msgspec.json.decode(one.body, type=_Label)
                verdicts[label.event] = label.verdict
    for name, verdict in verdicts.items():
        type_, _, id_ = name.partition("/")
        row = log.decisions(type_, [id_]).get(id_)
        if row is not None and verdict == "fraud":
            found.frauds[row.outcome] += 1
        elif row is not None and verdict == "genuine":
            found.genuine[row.outcome] += 1


def _place_before(log: Log, moment_ms: int, lateness_ms: int) -> int:
    """A place behind which all records of a moment and later stand: found by halves, since the log is nearly in order.

    An event is at most `lateness` behind the greatest time before it, so places are held against a moment earlier by
    that much.
    """
    low, high = log.pruned_to(), log.last_seq()
    while high - low > 1:
        middle = (low + high) // 2
        records = next(iter(log.read(middle - 1, middle)), [])
        if records and records[0].time_ms < moment_ms - 2 * lateness_ms:
            low = middle
        else:
            high = middle
    return max(low - 1, log.pruned_to())


def _outcomes(office: Office, found: _Day, language: str) -> list[dict[str, str]]:
    settings, words = office.definitions.settings, WORDS[language]

    def row(name: str, count: int, units: int) -> dict[str, str]:
        money = money_text(units, settings.money_places, settings.currency, language)
        return {"name": name, "count": count_text(count, language), "money": money}

    rows = [row(words[one], found.counts[one], found.money[one]) for one in OUTCOMES]
    return [*rows, row(words["together"], found.counts.total(), found.money.total())]


def _findings(found: _Day, store: NoticeStore, start_ms: int, end_ms: int, language: str) -> list[tuple[str, str]]:
    words = WORDS[language]
    stopped = ("challenge", "review", "decline")
    with store.look() as look:
        answers = Counter(one.answer for one in look.answered_between(start_ms, end_ms))
    counts = {
        "caught": sum(found.frauds[one] for one in stopped),
        "missed": found.frauds["approve"],
        "false_alarms": sum(found.genuine[one] for one in stopped),
        "answers_yes": answers["yes"],
        "answers_no": answers["no"],
    }
    return [(words[name], count_text(count, language)) for name, count in counts.items()]


def _waiting(office: Office, language: str) -> list[tuple[str, str]]:
    """The open cases as the report is made: how many, their money, and how long the next one may wait."""
    found, words, settings = office.backlog(), WORDS[language], office.definitions.settings
    rows = [(words["open_cases"], count_text(found.open, language))]
    if found.stake is not None:
        money = money_text(found.stake, settings.money_places, settings.currency, language)
        rows.append((words["at_stake"], money))
    if found.left_ms is not None:
        rows.append((words["late_cases"], count_text(found.late, language)))
        left = words["late_by"] if found.left_ms < 0 else "{lasting}"
        rows.append((words["time_left"], left.format(lasting=lasting_text(abs(found.left_ms), language))))
    if found.escalated:
        rows.append((words["escalated_cases"], count_text(found.escalated, language)))
    return rows


def _maturity(office: Office, language: str) -> str:
    """How many frauds are known by some ages, in a sentence; nothing where too few are."""
    words = WORDS[language]
    shares = office.known_by(AGES_DAYS)
    told = [
        words["maturity_at"].format(share=share_text(shares[days], 1, language), days=days)
        for days in AGES_DAYS
        if days in shares
    ]
    return words["maturity"].format(shares=", ".join(told)) if told else ""


def _hours(found: _Day, language: str) -> Sequence[Mapping[str, Any]]:
    most = max(found.hours.values(), default=0) or 1
    return [
        {
            "hour": hour,
            "count": count_text(found.hours[hour], language),
            "percent": round(100 * found.hours[hour] / most),
            "marks": "#" * round(MARKS * found.hours[hour] / most),
        }
        for hour in range(24)
    ]
