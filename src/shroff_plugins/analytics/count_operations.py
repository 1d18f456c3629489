"""Operations of counts and facts: events by type and day, and the features of a key at a moment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict
from shroff.plugins.language import day_at, day_named, day_starts_ms, days_of
from shroff.plugins.operations import OperationAnswer, OperationRequest, Param, operation, split_words
from shroff.plugins.project import Project
from shroff.plugins.values import replace
from shroff_plugins.analytics.counts import CountQuestion, CountRows, count_events, history_of, is_served
from shroff_plugins.analytics.facts import EVENTS_MAX, FactsDocument, FactsQuestion, facts_of

if TYPE_CHECKING:
    from shroff.plugins.log import DayFigures, Log
    from shroff.plugins.project import ProjectContext

PLACES_MAX = 500_000  # read by a service for one query: about 3 s
DAYS = 7  # counted by default, until the newest event
KEY_EVENTS_MAX = 20_000  # of one key, for a service: about 2 s


@operation(
    "counts", right="read:decisions", http="POST /analytics/event-counts", unanswered="The counts cannot be computed"
)
def event_counts(project: Project, request: CountQuestion) -> CountRows:
    """Count events by type and day; each event counts once.

    Days are by event time; a week is shown as its Monday. A field splits each day by its values. Whole days in UTC
    take a moment, since the log counts as it is written. In other zones, by fields and by sources the days
    are read from the lake and the log, at 5 µs an event of theirs in the log.
    A source has its name in shroff.yaml, else 'api', 'files', 'kafka' and the like. Old events have none.

    Examples:
        shroff counts --from 2026-03-01 --to 2026-03-31 --types payment --by week
        shroff counts --by channel --json
        shroff counts --by source
        shroff counts --by name --where source=AMPLITUDE
    """
    context = project.context
    request = replace(request, zone=request.zone or context.systems.time_zone)
    with ExitStack() as exit_stack:
        log, lake = history_of(context, exit_stack)
        days = days_asked(context, request.start_date, request.end_date, request.zone, log)
        if request.source is not None and request.source not in (sources := event_sources(context)):
            hint = nearest(request.source, sources) or (
                f"There is {', '.join(sources)}." if sources else "No source has sent events yet."
            )
            raise UsageError(f"no event came from a source {request.source!r}. {hint}")
        limit = PLACES_MAX if is_served(context) else None
        return count_events(request, days, context.definitions, log, lake, limit)


def figures_of_days(
    context: ProjectContext, first: date | None, last: date | None, zone: str
) -> dict[date, DayFigures]:
    """Return decisions by outcome with their money, and labels, by day (see `monitoring.day_figures`).

    Raises: UsageError for invalid days, for too many events, or if there is no log.
    """
    from shroff.plugins.log import figures_by_day

    with context.log.reading() as log:
        begin, end = days_asked(context, first, last, zone, log)
        starts_ms = day_starts_ms(begin, days_of(begin, end), zone)
        figures = figures_by_day(log, context.definitions, starts_ms, PLACES_MAX)
    return {begin + timedelta(index): one_day for index, one_day in enumerate(figures)}


# ---- what can be counted


class ShowCountable(OperationRequest["CountableTypes"]):
    pass


class CountableType(msgspec.Struct):
    """An event type, whether it is decided, and the fields that `by` accepts."""

    type: str
    decided: bool
    fields: list[str]


class CountableTypes(OperationAnswer):
    """The event types of the project, and the sources by which events came."""

    types: list[CountableType]
    sources: list[str]


@operation("counts types", right="read:decisions", http="GET /analytics/event-types", has_command=False)
def event_types(project: Project, request: ShowCountable) -> CountableTypes:
    """List the event types, their fields for counts, and the sources of events."""
    types = project.definitions.events.types.values()
    return CountableTypes(
        types=[CountableType(type_.name, type_.is_decided, type_.countable) for type_ in types],
        sources=event_sources(project.context),
    )


def event_sources(context: ProjectContext) -> list[str]:
    """Return the names of the sources of events in the log and in shroff.yaml."""
    from shroff.plugins.log import sources_of

    systems = context.systems
    names = {*systems.sources, *systems.pulled, *systems.read}
    if context.log.exists():
        with context.log.reading() as log:
            names.update(name for name in sources_of(log).names if name)
    return sorted(names)


# ---- facts


def cut_offs(texts: str | tuple[str, ...]) -> str | TextDict:
    """Parse `--since`: one time for all features, or a time for each. Raises: UsageError."""
    texts = (texts,) if isinstance(texts, str) else texts
    alone = [text for text in texts if "=" not in text]
    if len(alone) > 1 or (alone and len(texts) > 1):
        raise UsageError("give --since once, or --since FEATURE=TIME for each feature.")
    return alone[0] if alone else dict(text.split("=", 1) for text in texts)


class KeyAtMoment(OperationRequest[FactsDocument]):
    """The key and the time; by default all features of the entity at the time of the newest event.

    Times are as `2026-03-01T12:00:00Z`, or a day. `since` is a time for all features, or one for each by its name.

    Args:
        entity (ENTITY): The entity.
        key (KEY): The key as text; of several parts as a JSON list.
        as_of (T): A time or a day.  [default: that of --seq or --known-at, else of the newest event]
        seq (N): Use only what the log had before this sequence number, as its decision did.
        known_at (T): Use only what had arrived by this time.
        features (F,G): Only these features.  [default: all of the entity]
        since ([F=]T): Ignore earlier events, for all features or for one. May be repeated.
    """

    entity: str
    key: str
    as_of: str | None = None
    seq: int | None = None
    known_at: str | None = None
    features: Annotated[tuple[str, ...], Param(read=split_words)] = ()
    since: Annotated[str | TextDict | None, Param(read=cut_offs, is_repeated=True)] = None


@operation("facts", right="read:decisions", http="POST /analytics/facts", unanswered="No answer is possible")
def key_facts(project: Project, request: KeyAtMoment) -> FactsDocument:
    """Show the features of one key of an entity at a point in time.

    Each value is the one that an event of this key would see at that time, computed from the key's events in the log.
    That event itself does not count, also not with `including this`. Features that read a field of the current event
    (`this.amount`) have no value between events and are left out.

    Late events and labels count, unless `seq` or `known_at` leaves out what the log did not have then.

    Examples:
        shroff facts card c-7
        shroff facts card c-7 --as-of 2026-03-02T12:00:00Z --features card.spent_24h,card.payments_1h --json
        shroff facts card c-7 --since card.spent_24h=2026-03-01
    """
    return facts_asked(project.context, request)


def facts_asked(context: ProjectContext, request: KeyAtMoment) -> FactsDocument:
    """Compute what is asked for. Raises: UsageError for what has no answer, or where there is no log."""
    from shroff.plugins.features import stored_text
    from shroff.plugins.project import moment_ms

    since = request.since
    key = stored_text(context.definitions.events, context.log.hasher, request.entity, request.key)
    cut: int | dict[str, int] | None
    if isinstance(since, Mapping):
        moments = {name: moment_ms(time, f"since {name}") for name, time in since.items()}
        cut = {name: at_ms for name, at_ms in moments.items() if at_ms is not None}
    else:
        cut = moment_ms(since, "since")
    seq_and_time = request.seq, moment_ms(request.known_at, "known_at")
    question = FactsQuestion(request.entity, key, moment_ms(request.as_of), request.features, cut, *seq_and_time)
    with context.log.reading() as log:
        limit = KEY_EVENTS_MAX if is_served(context) else EVENTS_MAX
        return facts_of(question, context.definitions, log, context.now_ms(), limit)


def days_asked(
    context: ProjectContext, first: date | None, last: date | None, zone: str, log: Log
) -> tuple[date, date]:
    """Return the requested days, by default those up to the newest event. Raises: UsageError."""
    begin = day_named(first, "the first day")
    end = day_named(last, "the last day")
    if end is None:
        newest_ms = log.watermark_ms()
        end = day_at(context.now_ms() if newest_ms is None else newest_ms, zone)
    return end - timedelta(DAYS - 1) if begin is None else begin, end
