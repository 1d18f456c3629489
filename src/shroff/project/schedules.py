"""schedules.yaml: jobs that run by the clock.

What a schedule says decides nothing, so it is in no version and in no control event: whatever runs jobs reads the file
again when it changes. Which kinds of jobs there are, and what they take, is checked by `services.jobs.kinds`.
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
    """When a job runs; see `SCHEDULE`. `params` is JSON, so a schedule can be a cache key."""

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
    """Read schedules.yaml: each by its name. What cannot be read is left out, with a problem for each mistake."""
    return loader.by_name(
        node, FILE, SCHEDULES_MAX, SCHEDULE, lambda name, schedule: _schedule(name, schedule, problems), problems
    )


def _schedule(name: str, found: Mapping, problems: list[Problem]) -> Schedule:
    kind = loader.scalar(found.get("kind"), problems, "kind")
    params = found.get("params")
    zone = loader.zone(found.get("zone"), problems) or "UTC"
    plain = {} if params is None or loader.mapping(params, problems, "params") is None else plain_of(params)
    return Schedule(
        name,
        "" if kind is None else kind.text,
        _cron(found.get("cron"), zone, problems),
        zone,
        to_json(plain).decode(),
        loader.one_of(found.get("catch_up"), (SKIP, LAST, ALL), problems, "catch_up") or LAST,
        _timeout_ms(found.get("timeout"), problems),
        int(loader.decimal(found.get("retries"), problems, "retries", 0, RETRIES_MAX, is_whole=True) or 0),
        loader.one_of(found.get("overlap"), (SKIP, QUEUE), problems, "overlap") or SKIP,
        bool(loader.boolean(found.get("paused"), problems, "paused")),
    )


def _cron(node: Node | None, zone: str, problems: list[Problem]) -> str:
    found = loader.scalar(node, problems, "cron")
    if found is None:
        return ""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        found.report(problems, NO_LIBRARY)
        return ""
    hint = "Write minute, hour, day of the month, month and day of the week: '0 5 * * *' is each day at 05:00."
    words = "it must have five fields" if len(found.text.split()) != CRON_FIELDS else ""
    try:
        next(CronSim(found.text, datetime.now(UTC).astimezone(ZoneInfo(zone))))
    except (CronSimError, StopIteration) as error:
        words = words or str(error)[:1].lower() + str(error)[1:] or "it is never due"
    if words:
        found.report(problems, f"{found.text!r} is not a cron expression: {words}.", hint)
    return found.text


def _timeout_ms(node: Node | None, problems: list[Problem]) -> int:
    given = loader.duration_ms(node, problems, "timeout")
    if given is None:
        return TIMEOUT_MS
    if not TIMEOUT_MS_MIN <= given <= TIMEOUT_MS_MAX and isinstance(node, Scalar):
        node.report(problems, "timeout is 1s to 7d.")
    return given
