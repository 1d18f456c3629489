"""`shroff status`: print the state of events, cases, deliveries and the machine on one screen."""

from __future__ import annotations

import sys
import time
from math import inf
from typing import TYPE_CHECKING

import click

from shroff.cli.session import Session, command, many, table
from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.language.values import named_duration
from shroff.monitoring.live_metrics import HOUR_MS, LiveFigures, Pulse
from shroff.runtime.texts import one_line

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.web.metrics_store import StoreLook

# Most blocks of 5,000 log records to read for the last hour; about a second.
LOOKS = 20
RULES_SHOWN = 3
LITTLE_DISK = 0.1  # share of free space that needs attention
# Seconds, name, and the count from which the next unit is used.
UNITS = ((1, "s", 60), (60, "min", 60), (3_600, "h", 24), (86_400, "d", inf))
CLEAR = b"\x1b[H\x1b[2J"
Row = tuple[str, str, str]


@command("status")
@click.option("--watch", metavar="DURATION", help="Repeat the screen at this interval until Ctrl-C.")
def status(session: Session, watch: str | None) -> None:
    """Show events, cases, deliveries, models and the machine on one screen.

    A line that needs attention begins with '!'. Other systems are not asked: 'shroff doctor' does that. Alerts
    without a case get one first, if cases may be written. The last hour is that of event time, up to the newest event.

    Examples:
        shroff status
        shroff status --watch 5s
        shroff -C mybank status --json
    """
    from shroff.web.metrics_store import look_at_store

    if watch is None:
        look = look_at_store(session.project, is_quick=True)
        hour = _last_hour(session.project)
        session.answer(_document(look, hour), _text(session.project, look, hour))
        session.next("shroff doctor")
        return
    if session.is_json:
        raise UsageError("--watch is for people; call 'shroff status --json' as often as you need it.")
    every_s = named_duration("--watch", watch) / 1_000
    if every_s < 1:
        raise UsageError("--watch: one second is the least.")
    project = session.project
    pulse = Pulse()
    while True:
        text = _text(project, look_at_store(project, is_quick=True), _last_hour(project, pulse))
        session.show(text)
        session.flush()
        time.sleep(every_s)
        if sys.stdout.isatty():
            sys.stdout.buffer.write(CLEAR)  # buffered, and written together with the next screen


def _last_hour(project: Project, pulse: Pulse | None = None) -> LiveFigures | None:
    if not project.log.exists():
        return None
    pulse = pulse or Pulse()
    with project.log.reading() as log:
        for _ in range(LOOKS):
            if not pulse.follow(log, project.definitions) or pulse.figures(HOUR_MS, HOUR_MS).is_whole:
                break
    return pulse.figures(HOUR_MS, HOUR_MS)


def _document(look: StoreLook, hour: LiveFigures | None) -> JsonObject:
    from shroff.events.event import time_text

    return {
        "last_hour": None if hour is None else {"outcomes": dict(hour.outcomes), "is_whole": hour.is_whole},
        "metrics": look.values,
        "deliveries": {
            delivery.name: {
                "lag": delivery.lag,
                "stuck": delivery.stuck,
                "trouble": None if delivery.trouble is None else delivery.trouble.words,
            }
            for delivery in look.deliveries
        },
        "files": [
            {"source": place, "since": time_text(since_ms), "message": message}
            for place, message, since_ms in look.file_troubles
        ],
        "models": {event: {"id": id_, "age_seconds": age_s} for (event, id_), age_s in look.models.items()},
        "drift": {event: {"psi_max": psi, "inputs": inputs} for event, (psi, inputs, _) in look.drift.items()},
        "unread": sorted(part for part, is_failed in look.failed.items() if is_failed),
    }


def _text(project: Project, look: StoreLook, hour: LiveFigures | None) -> str:
    from shroff.events.event import time_text

    head = f"{project.definitions.settings.name}, {time_text(project.context.now_ms())}"
    rows = [*_events(look, hour), *_cases(look), *_deliveries(look), *_models(look), *_machine(look)]
    rows += [("! unread", part, "see 'shroff doctor'") for part, is_failed in look.failed.items() if is_failed]
    return f"{head}\n{table(rows)}"


def _events(look: StoreLook, hour: LiveFigures | None) -> list[Row]:
    age_s = look.values.get("shroff_newest_event_age_seconds")
    if hour is None or age_s is None:
        return [("events", "none yet", "'shroff ingest FILE' or 'shroff serve' brings the first ones")]
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(hour.outcomes.items()))
    least = "" if hour.is_whole else "at least "
    rows = [("newest event", _ago(age_s), ""), ("last hour", f"{least}{hour.decided:,} decided", outcomes)]
    for rule in [rule for rule in hour.rules if rule.hits][:RULES_SHOWN]:
        note = "in shadow" if rule.is_shadow else ""
        if rule.is_spike:
            note = "far more than usual"
        rows.append(_row(f"rule {rule.rule}", many(rule.hits, "hit"), note, is_bad=rule.is_spike))
    refused = int(look.values["shroff_quarantine_entries"] or 0)
    why = "'shroff quarantine' shows why" if refused else ""
    rows.append(_row("quarantine", f"{refused:,}", why, is_bad=bool(refused)))
    for name, words in (("shroff_labels_waiting", "labels waiting"), ("shroff_late_events", "late events")):
        count = int(look.values[name] or 0)
        if count:
            rows.append((words, f"{count:,}", ""))
    return rows


def _cases(look: StoreLook) -> list[Row]:
    count = look.values.get("shroff_cases_open")
    if count is None:
        return []
    overdue = int(look.values["shroff_cases_overdue"] or 0)
    due_s = look.values["shroff_case_due_seconds"]
    parts = [f"{overdue:,} overdue"] if overdue else []
    parts += [f"next due in {_span(due_s)}"] if due_s is not None and due_s > 0 else []
    return [_row("cases", f"{int(count):,} open", ", ".join(parts), is_bad=bool(overdue))]


def _deliveries(look: StoreLook) -> list[Row]:
    rows = []
    for delivery in look.deliveries:
        notes = [f"{delivery.stuck:,} rejected"] if delivery.stuck else []
        notes += [delivery.trouble.words] if delivery.trouble is not None else []
        rows.append(_row(delivery.name, f"{delivery.lag:,} behind", ", ".join(notes), is_bad=bool(notes)))
    for name, (age_s, skipped) in look.files.items():
        when = "nothing yet" if age_s is None else _ago(age_s)
        note = f"{skipped:,} skipped" * bool(skipped)
        rows.append(_row(name, when, note, is_bad=bool(skipped)))
    return rows + [("! file", one_line(place), one_line(message)) for place, message, _ in look.file_troubles]


def _models(look: StoreLook) -> list[Row]:
    rows = [
        (f"model of {event}", id_, f"champion for {_span(max(age_s, 0))}")
        for (event, id_), age_s in look.models.items()
    ]
    for event, (psi, inputs, age_s) in look.drift.items():
        drifted = f"{many(inputs, 'input')} drifted, " if inputs else ""
        note = f"{drifted}checked {_ago(age_s)}"
        rows.append(_row(f"drift of {event}", f"PSI {psi:.2f}", note, is_bad=bool(inputs)))
    return rows


def _machine(look: StoreLook) -> list[Row]:
    from shroff.runtime.texts import bytes_text

    rows = []
    values = look.values
    log_size = values.get("shroff_log_size_bytes")
    if log_size is not None:
        rows.append(("log", bytes_text(int(log_size)), ""))
    for name in ("snapshot", "backup"):
        age_s = values.get(f"shroff_{name}_age_seconds")
        rows.append((name, "none" if age_s is None else _ago(age_s), ""))
    free = values.get("shroff_disk_free_bytes")
    size = values.get("shroff_disk_size_bytes")
    if free is not None and size:
        note = f"of {bytes_text(int(size))}"
        is_little = free < LITTLE_DISK * size
        rows.append(_row("disk", f"{bytes_text(int(free))} free", note, is_bad=is_little))
    return rows


def _row(name: str, value: str, note: str, *, is_bad: bool) -> Row:
    return f"{'! ' * is_bad}{name}", value, note


def _span(seconds: float) -> str:
    """Format a duration in its largest unit, such as `3 h`."""
    count, name = next((round(seconds / unit), name) for unit, name, end in UNITS if round(seconds / unit) < end)
    return f"{count:,} {name}"


def _ago(age_s: float) -> str:
    return f"{_span(age_s)} ago" if age_s > -1 else f"{_span(-age_s)} ahead of the clock"
