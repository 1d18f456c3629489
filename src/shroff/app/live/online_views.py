"""What an opened project gives other services: features of a key as of its last decided event."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

from shroff.errors import UsageError, nearest
from shroff.language.values import key_text

if TYPE_CHECKING:
    from shroff.language.values import Value
    from shroff.project.definitions import Definitions
    from shroff.project.settings.systems import Systems
    from shroff.streams.delivering import Route
    from shroff.streams.log import Log
    from shroff.worker.online_features import EntityFeatures, OnlineSink, OnlineStore

NOT_THERE = (
    "this project writes no features for other services. Say where in shroff.yaml: 'online: redis://localhost:6379/1'."
)
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
            raise UsageError(f"{entity!r} is no entity of this project. {nearest(entity, entities)}".rstrip())
        return read_features(self._store, self._definitions, entity, [key_text(key) for key in keys])

    def close(self) -> None:
        """Let go of the server."""
        self._store.close()


class OnlineViews(ABC):
    """The calls of a project about features in Redis."""

    __slots__ = ()

    @property
    @abstractmethod
    def systems(self) -> Systems:
        """The outside systems of the project."""

    @property
    @abstractmethod
    def definitions(self) -> Definitions:
        """The project's definitions."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Log]:
        """The log, to read."""

    @abstractmethod
    def open_log(self, *, read_only: bool) -> Log:
        """The log, to be closed by the caller."""

    @abstractmethod
    def open_online(self, log: Log | None) -> OnlineStore:
        """Where features are, to be closed by the caller; with a log to be written. Raises: UsageError for nowhere."""

    @contextmanager
    def online(self) -> Iterator[OnlineReader]:
        """A reader of the features that other services see. Raises: UsageError where the project writes none."""
        with closing(OnlineReader(self.open_online(None), self.definitions)) as reader:
            yield reader

    def online_features(self, entity: str, key: Value | tuple[Value, ...]) -> EntityFeatures | None:
        """The features of one key, as `online` gives them to who asks often."""
        with self.online() as reader:
            return reader.get(entity, key)

    def write_online_features(self) -> int:
        """Write the features of all keys anew, of the whole log; gives the place that it came to.

        For a server that lost its data. A worker may go on beside this: no older value takes a newer one's place.
        """
        from shroff.streams.delivering_rows import decisions

        with closing(self._opened_sink()) as sink, self.reading() as log:
            last = log.last_seq()
            for after in range(0, last, sink.places_max):
                sink.send(decisions(log, after, min(after + sink.places_max, last), wants_fields=True))
        return last

    def online_route(self) -> Route | None:
        """What carries features to where other services read them; None where the project names no such place."""
        from shroff.streams.delivering import Route

        online = self.systems.online
        return (
            None
            if online is None
            else Route(ROUTE, self._opened_sink, settings=(self.definitions.settings.name, online))
        )

    def _opened_sink(self) -> OnlineSink:
        from shroff.worker.online_features import OnlineSink

        log = self.open_log(read_only=True)
        try:
            online = self.systems.online
            entities = [] if online is None else online.options.get("entities", [])
            return OnlineSink(self.open_online(log), log, entities)
        except BaseException:
            log.close()
            raise
