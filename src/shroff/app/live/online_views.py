"""Online features of an opened project: the features of a key as of its last decided event."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from shroff.app.adapter_factory import AdapterFactory
from shroff.errors import UsageError, nearest
from shroff.language.values import key_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shroff.app.opened import Opened
    from shroff.language.values import Value
    from shroff.project.definitions import Definitions
    from shroff.streams.sink_cursor import SinkRoute
    from shroff.worker.online_features import EntityFeatures, OnlineSink, OnlineStore

ROUTE = "online features"  # no sink of a project has such a name


class OnlineReader:
    """Reads features of keys. For use in a `with`; several threads may share one."""

    def __init__(self, store: OnlineStore, definitions: Definitions) -> None:
        self._store, self._definitions = store, definitions

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


class OnlineFeatures:
    """Online features in Redis."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @contextmanager
    def open(self) -> Iterator[OnlineReader]:
        """Open a reader of the online features. Raises: UsageError if the project writes none."""
        with closing(OnlineReader(AdapterFactory(self._opened).open_online(None), self._opened.definitions)) as reader:
            yield reader

    def get(self, entity: str, key: Value | tuple[Value, ...]) -> EntityFeatures | None:
        """Get the features of one key from the online store."""
        with self.open() as reader:
            return reader.get(entity, key)

    def write(self) -> int:
        """Write the features of all keys again from the whole log; gives the last log position.

        For a server that lost its data. A worker can run meanwhile: older values never replace newer ones.
        """
        from shroff.streams.delivering_rows import decisions

        with closing(self._opened_sink()) as sink, self._opened.reading() as log:
            last = log.last_seq()
            for after in range(0, last, sink.places_max):
                sink.send(decisions(log, after, min(after + sink.places_max, last), wants_fields=True))
        return last

    def route(self) -> SinkRoute | None:
        """Get the writer of online features; None if the project has no online store."""
        from shroff.streams.sink_cursor import SinkRoute

        online = self._opened.systems.online
        return (
            None
            if online is None
            else SinkRoute(ROUTE, self._opened_sink, settings=(self._opened.definitions.settings.name, online))
        )

    def _opened_sink(self) -> OnlineSink:
        from shroff.worker.online_features import OnlineSink

        log = self._opened.open_log(read_only=True)
        try:
            online = self._opened.systems.online
            entities = [] if online is None else online.options.get("entities", [])
            return OnlineSink(AdapterFactory(self._opened).open_online(log), log, entities)
        except BaseException:
            log.close()
            raise
