"""Routes from decisions to sinks, notices and online features, and a reader of those features."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from shroff.errors import UsageError, nearest
from shroff.language.values import key_text
from shroff.project.settings.installed import settings_of
from shroff.runtime.texts import many
from shroff.services.adapter_factory import AdapterFactory
from shroff.services.parts import ProjectPart, ProjectParts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shroff.json_types import TextMapping
    from shroff.language.values import Value
    from shroff.monitoring.doctor import Finding
    from shroff.monitoring.doctor_systems import DeliveredSample
    from shroff.project.definitions import Definitions
    from shroff.project.settings.system import System
    from shroff.project.settings.systems import Systems
    from shroff.services.context import ProjectContext
    from shroff.streams.sink_cursor import SinkRoute
    from shroff.worker.online_features import EntityFeatures, OnlineSink, OnlineStore

_UNSAID = re.compile(r"[^A-Za-z0-9_-]+")  # characters of a project's name that names in outside systems lack


class OnlineReader(Struct, eq=False):
    """Reader of online features. Use it as a context manager; several threads may share one."""

    _store: OnlineStore
    _definitions: Definitions

    def get(self, entity: str, key: Value | tuple[Value, ...]) -> EntityFeatures | None:
        """Return the features of a key; None if the store has none.

        A key of several fields is a tuple of their values. For a hashed field, pass the hash, as in flags.

        Raises: UsageError if there is no such entity; TransientError if the server does not answer.
        """
        return self.get_all(entity, [key])[0]

    def get_all(self, entity: str, keys: Sequence[Value | tuple[Value, ...]]) -> list[EntityFeatures | None]:
        """Return the features of keys, in order, with one request."""
        from shroff.worker.online_features import read_features

        entities = self._definitions.events.entities
        if entity not in entities:
            raise UsageError(f"{entity!r} is not an entity of this project. {nearest(entity, entities)}".rstrip())
        return read_features(self._store, self._definitions, entity, [key_text(key) for key in keys])

    def close(self) -> None:
        self._store.close()


class OnlineFeatures(ProjectPart):
    """Online features in Redis."""

    _outside: AdapterFactory

    @contextmanager
    def open(self) -> Iterator[OnlineReader]:
        """Open a reader of the online features. Raises: UsageError if the project writes none."""
        store = self._outside.open_online(None)
        with closing(OnlineReader(store, self._definitions)) as reader:
            yield reader

    def get(self, entity: str, key: Value | tuple[Value, ...]) -> EntityFeatures | None:
        """Get the features of one key from the online store."""
        with self.open() as reader:
            return reader.get(entity, key)

    def write(self) -> int:
        """Write the features of all keys again from the whole log; return the last sequence number.

        For a server that lost some of its keys, such as by eviction. A worker can run meanwhile: older values never
        replace newer ones. Features of keys whose last decision was pruned stay as they are.

        Raises: UsageError if there is no log, or no online store; TransientError if the server does not answer.
        """
        from shroff.streams.delivering_rows import decisions, with_fields
        from shroff.streams.sink_cursor import ORIGIN, source_of
        from shroff.worker.outbox import ONLINE

        with closing(self._opened_sink()) as sink, self._log.reading() as log:
            last = log.last_seq()
            for after in range(0, last, sink.places_max):
                sink.send(with_fields(log, decisions(log, after, min(after + sink.places_max, last))))
            if origin := log.offsets.of(source_of(ONLINE)).get(ORIGIN):
                sink.set_mark(f"{origin} {last}", sink.mark())  # keep the mark if a worker changed it meanwhile
        return last

    def look(self) -> Finding:
        """Check for `doctor` that the store answers and still has what was delivered. Raises: as `write`."""
        from shroff.monitoring.doctor import NOTE, OK, WRONG, Finding
        from shroff.monitoring.doctor_systems import LIMIT_S, DeliveredSample, delivered_sample
        from shroff.streams.sink_cursor import ORIGIN, source_of, through_of
        from shroff.worker.online_features import EvictingStore
        from shroff.worker.outbox import ONLINE

        assert self._systems.online is not None
        where = self._outside.reach(self._systems.online, LIMIT_S, "features")
        offsets: TextMapping = {}
        sample = DeliveredSample([], [])
        if self._log.exists():
            with self._log.reading() as log:
                offsets = log.offsets.of(source_of(ONLINE))
                sample = delivered_sample(log, ONLINE, "decisions", (), self._now_ms(), has_fields=True)
        with closing(self._outside.open_online(None)) as store:
            origin, _, place = store.mark().partition(" ")
            policy, evicted = store.eviction() if isinstance(store, EvictingStore) else ("", 0)
        kept = int(place) if origin and origin == offsets.get(ORIGIN) else 0
        through = through_of(ONLINE, offsets) or 0
        if kept < through:
            lost = f"has features up to sequence number {kept:,} only" if kept else "has none of them"
            words = (
                f"features were delivered up to sequence number {through:,}, and {where} {lost}: it lost its content"
            )
            cure = (
                "'shroff serve' and 'shroff run' write them again within a minute. If none runs: 'shroff online write'."
            )
            return Finding("online", WRONG, words, cure)
        cure = (
            f"{where} removes keys when its memory is full: set 'maxmemory-policy noeviction', or give it more memory"
        )
        removed = f"{where} has removed {many(evicted, 'key')} since it started"
        words = self._lost_words(sample) if any(sample) else ""
        if words:
            words = f"{words}; {removed}" if evicted else words
            again = "'shroff online write' writes them again."
            return Finding("online", WRONG, words, f"{cure}; then {again}" if policy else again)
        if policy:
            words = f"{removed if evicted else f'{where} may remove keys'}: its policy is {policy}"
            return Finding("online", NOTE, words, f"{cure}.")
        return Finding("online", OK, f"{where} accepts connections")

    def _lost_words(self, sample: DeliveredSample) -> str:
        from shroff.monitoring.doctor_systems import DeliveredSample, lost_words

        assert self._systems.online is not None
        lasts_ms = self._systems.online.duration_ms("ttl", "0ms")
        since_ms = self._now_ms() - lasts_ms if lasts_ms else 0
        lasting = ([row for row in rows if (row.at_ms or 0) >= since_ms] for rows in sample)
        with closing(self._opened_sink()) as sink:
            return lost_words(sink, DeliveredSample(*lasting))[1]

    def route(self) -> SinkRoute | None:
        """Get the writer of online features; None if the project has no online store."""
        from shroff.streams.sink_cursor import SinkRoute
        from shroff.worker.outbox import ONLINE

        if (online := self._systems.online) is None:
            return None
        return SinkRoute(ONLINE, self._opened_sink, settings=(self._definitions.settings.name, online))

    def _opened_sink(self) -> OnlineSink:
        from shroff.worker.online_features import OnlineSink

        log = self._log.open(read_only=True)
        try:
            online = self._systems.online
            entities = [] if online is None else online.options.get("entities", [])
            return OnlineSink(self._outside.open_online(log), log, entities)
        except BaseException:
            log.close()
            raise


def sink_systems(systems: Systems) -> dict[str, System]:
    from shroff.worker.outbox import ONLINE

    return {**systems.sinks, **({} if systems.online is None else {ONLINE: systems.online})}


def sink_routes(context: ProjectContext) -> list[SinkRoute]:
    """Return the routes to the sinks of shroff.yaml, each with its adapter and the records that it receives.

    No outside system is contacted.

    Raises: UsageError if the settings of a sink contradict each other, or a variable is not set.
    """
    from shroff.log.experiment_arms import ExperimentArms
    from shroff.streams.sink_cursor import SinkRoute

    routes = []
    for name, system in context.systems.sinks.items():
        outside = _UNSAID.sub("-", f"{context.definitions.settings.name}-{name}")
        opened = partial(AdapterFactory(context).open_sink, outside, system)
        opened().close()  # report invalid settings before anything runs
        is_called = settings_of("sink", system.kind).is_called
        outcomes = frozenset(system.options.get("outcomes", ()))
        by = outside, system, context.systems.http if is_called else None
        take = system.text("take", "decisions")
        more = {"complete": ExperimentArms().rows} if take == "decisions" else {}
        routes.append(SinkRoute(name, opened, take, outcomes, system.starts_now, by, **more))
    online = ProjectParts(context).online.route()
    return [*routes, *([] if online is None else [online]), *ProjectParts(context).notices.routes()]
