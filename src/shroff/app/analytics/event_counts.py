"""Analytics of an opened project: event counts, the features of a key at a moment, and funnels."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from shroff.app.lakes import Lakes
from shroff.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.analytics.counts import CountedType, EventCount
    from shroff.analytics.day_figures import DayFigures
    from shroff.analytics.facts import KeyFacts
    from shroff.analytics.funnels import FunnelDocument
    from shroff.app.opened import Opened
    from shroff.lake.reader import LakeReader
    from shroff.project.funnels import Funnel
    from shroff.replay.notebook import Moment
    from shroff.streams.log import Log

YEARS: Final = (1900, 9000)
DAYS: Final = 7  # that are counted where nobody names any, up to the newest event


class CountLimits(TypedDict, total=False):
    """Options of event counts that limit the rows.

    Args:
        zeros: Whether days without an event have a row.
        source: Only events that came by the source of this name.
        most: So many events are read at most.
    """

    zeros: bool
    source: str | None
    most: int | None


class Analytics:
    """Common analytical queries. Each call reads the current log and lake, and counts every event once."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def event_counts(
        self,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        types: Sequence[str] = (),
        by: str = "day",
        zone: str = "",
        **limits: Unpack[CountLimits],
    ) -> list[EventCount]:
        """Count events by type and day (see `analytics.counts`).

        Args:
            first: The first day, as `2026-03-01`; by default six days before the last.
            last: The last day; by default that of the newest event.
            types: Event types; by default all.
            by: `day`, `week`, `source`, or a field that splits each day by its values.
            zone: The time zone of the days, as `Europe/Berlin`; by default the project's.
            limits: `zeros`: whether days without an event have a row; `source`: only events of the source with this
                name; `most`: the maximum number of events to read.

        Raises: UsageError for what cannot be counted, or where there is no log; StateError where the lake is another
            log's.
        """
        from shroff.analytics.counts import EventCounts, count_events

        definitions, zone = self._opened.definitions, zone or self._opened.systems.time_zone
        with ExitStack() as held:
            histories = [history_of(self._opened, held)]
            begin, end = self._days(first, last, zone, [log for log, _ in histories])
            source = limits.get("source")
            if source is not None:
                self._check_source(source, [log for log, _ in histories])
            question = EventCounts(begin, end, tuple(types), by, zone, limits.get("zeros", False), source)
            return count_events(question, definitions, histories, limits.get("most"))

    def day_figures(
        self,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        zone: str = "",
        most: int | None = None,
    ) -> dict[date, DayFigures]:
        """Count decisions by outcome with their money, and labels, by day (see `analytics.day_figures`).

        Args:
            first: The first day; by default six days before the last.
            last: The last day; by default that of the newest event.
            zone: The time zone of the days; by default the project's.
            most: The maximum number of records to read.

        Raises: UsageError for days that are none, or too many events in them, or where there is no log.
        """
        from shroff.analytics.day_figures import figures_by_day
        from shroff.language.values import day_starts_ms, days_of

        definitions, zone = self._opened.definitions, zone or self._opened.systems.time_zone
        with self._opened.reading() as log:
            begin, end = self._days(first, last, zone, [log])
            days = days_of(begin, end)
            found = figures_by_day(log, definitions, day_starts_ms(begin, days, zone), most)
        return {begin + timedelta(at): figures for at, figures in enumerate(found)}

    def event_sources(self) -> list[str]:
        """List the names of the sources of events in the log, and of those in shroff.yaml."""
        with ExitStack() as held:
            logs = [held.enter_context(self._opened.reading())] if self._opened.has_log() else []
            return self._sources(logs)

    def _sources(self, logs: Sequence[Log]) -> list[str]:
        from shroff.log.event_notes import sources_of

        systems = self._opened.systems
        found = {*systems.sources, *systems.pulled, *systems.read}
        for log in logs:
            found.update(name for name in sources_of(log).names if name)
        return sorted(found)

    def _check_source(self, name: str, logs: Sequence[Log]) -> None:
        there = self._sources(logs)
        if name not in there:
            known = nearest(name, there) or (
                f"There is {', '.join(there)}." if there else ("No source has sent events yet.")
            )
            raise UsageError(f"no event came from a source {name!r}. {known}")

    def _days(
        self, first: date | str | None, last: date | str | None, zone: str, logs: Sequence[Log]
    ) -> tuple[date, date]:
        """The days that are asked for; where they are not named, those up to the newest event."""
        from shroff.language.values import day_at

        begin, end = day_named(first, "the first day"), day_named(last, "the last day")
        if end is None:
            newest = [ms for log in logs if (ms := log.watermark_ms()) is not None]
            end = day_at(max(newest, default=self._opened.now_ms()), zone)
        return end - timedelta(DAYS - 1) if begin is None else begin, end

    def facts(
        self,
        entity: str,
        key: str,
        *,
        as_of: Moment | None = None,
        features: Sequence[str] = (),
        since: Moment | Mapping[str, Moment] | None = None,
        most: int | None = None,
    ) -> KeyFacts:
        """Compute the features of one key of an entity at a point in time (see `analytics.facts`).

        Args:
            key: The key as text; a key of several parts as a JSON list. A hashed field may be given in clear.
            as_of: The time; by default that of the newest event.
            features: Names such as `card.spent_24h`; by default all of the entity.
            since: Ignore events before this time: one for all features, or a mapping by feature.
            most: The maximum number of events of the key to read.

        Raises: UsageError for what has no answer, or where there is no log.
        """
        from shroff.analytics.facts import EVENTS_MAX, FactsQuestion, facts_of
        from shroff.app.decision_history import DecisionHistory
        from shroff.features.key_texts import stored_text
        from shroff.replay.notebook import moment_ms

        definitions = self._opened.definitions
        key = stored_text(definitions.events, self._opened.hasher, entity, key)
        cut: int | dict[str, int] | None
        if isinstance(since, Mapping):
            cut = {name: ms for name, one in since.items() if (ms := moment_ms(one, f"since {name}")) is not None}
        else:
            cut = moment_ms(since, "since")
        question = FactsQuestion(entity, key, moment_ms(as_of), tuple(features), cut)
        index = DecisionHistory(self._opened).key_index(definitions)
        with self._opened.reading() as log:
            return facts_of(question, definitions, log, self._opened.now_ms(), index, most or EVENTS_MAX)

    def funnels(self) -> dict[str, Funnel]:
        """Get the funnels of funnels.yaml, by name. Raises: DefinitionError with every error of the file."""
        from shroff.app.analytics.funnels import funnels_of

        return funnels_of(self._opened)

    def funnel(
        self,
        name: str | None = None,
        first: date | str | None = None,
        last: date | str | None = None,
        *,
        zone: str = "",
        split: str | None = None,
        most: int | None = None,
    ) -> FunnelDocument:
        """Compute drop-off and recovery by day, users per step, and the time they took (see `analytics.funnels`).

        Args:
            name: The funnel; by default all.
            first: The first day, as `2026-03-01`; by default two days before the last.
            last: The last day; by default yesterday.
            zone: The time zone of the days, as `Europe/Berlin`; by default the project's.
            split: A field that splits all numbers by its values; by default that of the funnel.
            most: The maximum number of events to read for each funnel.

        Raises: UsageError for what cannot be counted, or where there is no log; DefinitionError for a mistake in
            funnels.yaml; StateError where the lake is another log's.
        """
        from shroff.analytics.funnels import ask_funnel, document_of
        from shroff.app.analytics.funnels import questions_of

        days = day_named(first, "the first day"), day_named(last, "the last day")
        asked = questions_of(self._opened, name, *days, zone, split)
        with ExitStack() as held:
            histories = [history_of(self._opened, held)]
            return document_of(asked, [ask_funnel(one, self._opened.definitions, histories, most) for one in asked])

    def funnel_users(
        self,
        name: str,
        number: str,
        day: date | str | None = None,
        *,
        first: date | str | None = None,
        last: date | str | None = None,
        zone: str = "",
        most: int | None = None,
    ) -> list[str]:
        """List the users behind a number of a funnel, sorted.

        Args:
            number: Such as `still_out:signed_up`: `dropped_off`, `recovered`, `still_out` of a step on a day; `reached`
                it; `lost`, reached it and not the next one.
            day: The last day without it.

        Raises: As `funnel`.
        """
        from shroff.analytics.funnels import ask_funnel
        from shroff.app.analytics.funnels import questions_of

        days = day_named(first, "the first day"), day_named(last, "the last day")
        asked = questions_of(self._opened, name, *days, zone, "")
        with ExitStack() as held:
            histories = [history_of(self._opened, held)]
            found = ask_funnel(asked[0], self._opened.definitions, histories, most)
            return found.users(number, day_named(day, "the day"))

    def event_types(self) -> list[CountedType]:
        """List the event types and the fields by which they can be counted."""
        from shroff.analytics.counts import CountedType, counted_fields

        types = self._opened.definitions.events.types.values()
        return [CountedType(type_.name, type_.is_decided, counted_fields(type_)) for type_ in types]


def history_of(opened: Opened, held: ExitStack) -> tuple[Log, LakeReader | None]:
    """The log, and its lake where one was written. Raises: StateError where the lake is another log's."""
    from shroff.lake.reader import NoLakeError
    from shroff.lake.writer import LakeWriter

    log = held.enter_context(opened.reading())
    if opened.systems.lake is None:
        return log, None
    try:
        lake = held.enter_context(Lakes(opened).reader())
    except NoLakeError:
        return log, None
    LakeWriter(lake.objects, log, opened.now_ms).check_log(lake.state)
    return log, lake


def day_named(given: date | str | None, name: str) -> date | None:
    """A day that somebody named, None where nobody did. Raises: UsageError for what is none."""
    try:
        found = date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        raise UsageError(f"{name}: {given!r} is not a day. Write it as 2026-03-01.") from None
    if found is not None and not YEARS[0] <= found.year <= YEARS[1]:
        raise UsageError(f"{name}: {found} is not between the years {YEARS[0]} and {YEARS[1]}.")
    return found
