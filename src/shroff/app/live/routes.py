"""Routing of decisions to sinks, notices and online features, and reading of those features."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from shroff.app.adapter_factory import AdapterFactory
from shroff.app.notices import NoticeViews
from shroff.app.parts import ProjectPart
from shroff.errors import UsageError, nearest
from shroff.language.values import key_text
from shroff.project.settings.installed import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shroff.app.context import ProjectContext
    from shroff.language.values import Value
    from shroff.project.definitions import Definitions
    from shroff.streams.sink_cursor import SinkRoute
    from shroff.worker.online_features import EntityFeatures, OnlineSink, OnlineStore

_UNSAID = re.compile(r"[^A-Za-z0-9_-]+")  # in a project's name, of names outside
ROUTE = "online features"  # no sink of a project has such a name


class OnlineReader(Struct, eq=False):
    """Reads features of keys. For use in a `with`; several threads may share one."""

    _store: OnlineStore
    _definitions: Definitions

    def get(self, entity: str, key: Value | tuple[Value, ...]) -> EntityFeatures | None:
        """The features of a key; None where nothing is kept of it.

        A key of several fields is a tuple of their values. Of a hashed field it is the hash, as flags show it.
        Raises: UsageError where there is no such entity; TransientError where the server does not answer.
        """
        return self.get_all(entity, [key])[0]

    def get_all(self, entity: str, keys: Sequence[Value | tuple[Value, ...]]) -> list[EntityFeatures | None]:
        """The features of keys, in their order, asked for together."""
        from shroff.worker.online_features import read_features

        entities = self._definitions.events.entities
        if entity not in entities:
            raise UsageError(f"{entity!r} is not an entity of this project. {nearest(entity, entities)}".rstrip())
        return read_features(self._store, self._definitions, entity, [key_text(key) for key in keys])

    def close(self) -> None:
        """Let go of the server."""
        self._store.close()


class OnlineFeatures(ProjectPart):
    """Online features in Redis."""

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
        """Write the features of all keys again from the whole log; gives the last log position.

        For a server that lost its data. A worker can run meanwhile: older values never replace newer ones.
        """
        from shroff.streams.delivering_rows import decisions, with_fields

        with closing(self._opened_sink()) as sink, self._log.reading() as log:
            last = log.last_seq()
            for after in range(0, last, sink.places_max):
                sink.send(with_fields(log, decisions(log, after, min(after + sink.places_max, last))))
        return last

    def route(self) -> SinkRoute | None:
        """Get the writer of online features; None if the project has no online store."""
        from shroff.streams.sink_cursor import SinkRoute

        if (online := self._systems.online) is None:
            return None
        return SinkRoute(ROUTE, self._opened_sink, settings=(self._definitions.settings.name, online))

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


def sink_routes(context: ProjectContext) -> list[SinkRoute]:
    """Routes to the sinks of shroff.yaml, each with its adapter and the records that it receives.

    No outside system is contacted.

    Raises: UsageError where the settings of a sink contradict each other, or a variable is not set.
    """
    from shroff.streams.sink_cursor import SinkRoute

    found = []
    for name, system in context.systems.sinks.items():
        outside = _UNSAID.sub("-", f"{context.definitions.settings.name}-{name}")
        opened = partial(AdapterFactory(context).open_sink, outside, system)
        opened().close()  # so that what can never be is told before anything runs
        is_called = settings_of("sink", system.kind).is_called
        outcomes = frozenset(system.options.get("outcomes", ()))
        by = outside, system, context.systems.http if is_called else None
        found.append(SinkRoute(name, opened, system.text("take", "decisions"), outcomes, system.starts_now, by))
    online = OnlineFeatures(context).route()
    return [*found, *([] if online is None else [online]), *NoticeViews(context).routes()]
