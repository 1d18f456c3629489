"""schedules.yaml: jobs that run by the clock.

A schedule affects no decision, so no version and no control event contains it: the process that runs jobs reads the
file again after a change. `services.jobs.kinds` checks kinds of jobs and their parameters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from msgspec.json import encode as to_json

from shroff.errors import Problem
from shroff.language import loader
from shroff.language.keys import (
    ANY,
    DURATION,
    SWITCH,
    WHOLE,
    Either,
    Many,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.language.yaml.nodes import Mapping, Node, Scalar, plain_of
from shroff.runtime.values import FrozenStruct

FILE = "schedules.yaml"
SCHEDULES_MAX = 200
CRON_FIELDS = 5
RETRIES_MAX = 10
TIMEOUT_MS = 3_600_000
TIMEOUT_MS_MIN = 1_000
TIMEOUT_MS_MAX = 7 * 86_400_000
SKIP = "skip"
LAST = "last"
ALL = "all"
QUEUE = "queue"
NO_LIBRARY = "schedules need the extra 'jobs': pip install 'shroff[jobs]'."


class _Schedule:
    """A schedule.

    kind: The kind of job to run, as listed by `shroff jobs kinds`.
        Example: marts
    cron: When to run: minute, hour, day of the month, month and day of the week, as in crontab.
        Example: '0 5 * * *'
        Example: '*/15 * * * 1-5'
    zone: Time zone of `cron`. When clocks change, a skipped time runs right after the change, and a repeated time runs
        once; `*` in hours or minutes runs in both.
        Default: UTC
        Example: Europe/Berlin
    params: Parameters of the job, as in `POST /api/v1/jobs`.
        Example: { full: true }
    catch_up: Handling of due times that passed while no process ran jobs: `skip` runs none of them, `last` only the
        newest, `all` each, one after the other.
        Default: last
    timeout: Time limit of a run, up to 7d.
        Default: 1h
        Example: 30m
    retries: Number of retries after a failed run, 0 to 10: after 30 s, then 60 s, and so on.
        Default: 0
        Example: 2
    overlap: Handling of a due time while the previous run still waits or runs: `skip` leaves it out, `queue` runs it
        afterwards.
        Default: skip
    paused: true: the schedule does not run.
        Default: false
    """

    kind = Required(One("a kind of job", r"^[a-z][a-z0-9-]{0,49}$"))
    cron = Required(One("a cron expression"))
    zone = One("a time zone")
    params = own_names("parameters by name", Either((ANY, Many("values", ANY))), pattern="^[a-z][a-z0-9_]{0,99}$")
    catch_up = choice(SKIP, LAST, ALL)
    timeout = DURATION
    retries = WHOLE
    overlap = choice(SKIP, QUEUE)
    paused = SWITCH


SCHEDULE = mapping_shape(_Schedule)
SCHEDULES = own_names("schedules by name", SCHEDULE)


class Schedule(FrozenStruct):
    """A schedule as loaded; see `_Schedule`. `params` is a JSON text, so that a schedule is hashable."""

    name: str
    kind: str
    cron: str
    zone: str = "UTC"
    params: str = "{}"
    catch_up: str = LAST
    timeout_ms: int = TIMEOUT_MS
    retries: int = 0
    overlap: str = SKIP
    is_paused: bool = False


def load_schedules(node: Node | None, problems: list[Problem]) -> dict[str, Schedule]:
    """Load schedules.yaml by name, and add each mistake to `problems`. A wrong value is replaced by its default."""
    return loader.by_name(
        node, FILE, SCHEDULES_MAX, SCHEDULE, lambda name, schedule: _schedule(name, schedule, problems), problems
    )


def _schedule(name: str, schedule: Mapping, problems: list[Problem]) -> Schedule:
    kind = loader.scalar(schedule.get("kind"), problems, "kind")
    params = schedule.get("params")
    zone = loader.zone(schedule.get("zone"), problems) or "UTC"
    plain = {} if params is None or loader.mapping(params, problems, "params") is None else plain_of(params)
    return Schedule(
        name,
        "" if kind is None else kind.text,
        _cron(schedule.get("cron"), zone, problems),
        zone,
        to_json(plain).decode(),
        loader.one_of(schedule.get("catch_up"), (SKIP, LAST, ALL), problems, "catch_up") or LAST,
        _timeout_ms(schedule.get("timeout"), problems),
        int(loader.decimal(schedule.get("retries"), problems, "retries", 0, RETRIES_MAX, is_whole=True) or 0),
        loader.one_of(schedule.get("overlap"), (SKIP, QUEUE), problems, "overlap") or SKIP,
        bool(loader.boolean(schedule.get("paused"), problems, "paused")),
    )


def _cron(node: Node | None, zone: str, problems: list[Problem]) -> str:
    expression = loader.scalar(node, problems, "cron")
    if expression is None:
        return ""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        expression.report(problems, NO_LIBRARY)
        return ""
    hint = "Write minute, hour, day of the month, month and day of the week: '0 5 * * *' is each day at 05:00."
    problem = "it must have five fields" if len(expression.text.split()) != CRON_FIELDS else ""
    try:
        next(CronSim(expression.text, datetime.now(UTC).astimezone(ZoneInfo(zone))))
    except (CronSimError, StopIteration) as error:
        problem = problem or str(error)[:1].lower() + str(error)[1:] or "it is never due"
    if problem:
        expression.report(problems, f"{expression.text!r} is not a cron expression: {problem}.", hint)
    return expression.text


def _timeout_ms(node: Node | None, problems: list[Problem]) -> int:
    timeout_ms = loader.duration_ms(node, problems, "timeout")
    if timeout_ms is None:
        return TIMEOUT_MS
    if not TIMEOUT_MS_MIN <= timeout_ms <= TIMEOUT_MS_MAX and isinstance(node, Scalar):
        node.report(problems, "timeout is 1s to 7d.")
    return timeout_ms
