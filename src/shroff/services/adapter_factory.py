"""Factory of a project's adapters, chosen by shroff.yaml and entry points. Nothing else chooses them."""

from __future__ import annotations

import socket
from collections import defaultdict
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shroff import config
from shroff.errors import LogBusyError, StorageError, TransientError, UsageError, os_words
from shroff.events import hash_keys
from shroff.events.mapping import LABEL
from shroff.json_types import TextDict
from shroff.project.definitions import Definitions
from shroff.project.settings.installed import first_schemes, kind_at, online_mistake, settings_of
from shroff.project.settings.system import System, filled
from shroff.runtime import environment, state_folder
from shroff.runtime.entry_points import entries, entry_point, load_entry
from shroff.runtime.progress import Tell, unheard
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shroff.events.avro.wire import AvroDecoder
    from shroff.events.definitions import Events
    from shroff.events.formats.lines import Lines
    from shroff.events.formats.schemas import SchemaRegistry
    from shroff.events.formats.wire import Decoder, Encoder
    from shroff.people.oidc import Provider
    from shroff.people.store import PeopleStore
    from shroff.project.definitions import Definitions
    from shroff.services.context import ProjectContext
    from shroff.streams.log import Log
    from shroff.streams.sender import Sender
    from shroff.streams.sink import Sink
    from shroff.streams.source import Source
    from shroff.worker.online_features import OnlineStore
    from shroff.worker.serving.multi_source import Note, SeveralSources


NOT_THERE = "this project writes no features for other services. Configure it in shroff.yaml: 'online: redis://localhost:6379/1'."


_SENDER = "sender."


class AdapterFactory(ProjectPart):
    """The outside systems of a project, by its settings; what is opened is closed by the caller."""

    def avro_decoder(self) -> AvroDecoder | None:
        each = [system for _, system in self._systems.all_read if system.text("format", "json") == "avro"]
        return self._avro_of(each[0]) if each else None

    def _avro_of(self, system: System) -> AvroDecoder:
        from shroff.events.avro.wire import AvroDecoder

        definitions = self._definitions
        return AvroDecoder(self.open_registry(system), definitions.events, settings=definitions.settings)

    def open_registry(self, system: System | None, address: str = "") -> SchemaRegistry:
        """Open the schema registry of a live source, or the one at `address`. The caller closes it.

        Raises: UsageError if neither is given, or an environment variable is not set.
        """
        from shroff.adapters.http_calls import Calls
        from shroff.adapters.registry.http import HttpRegistry

        options = {"url": address} if address or system is None else dict(system.registry)
        if not options.get("url"):
            raise UsageError("source: Avro messages need 'registry:', the address of their schemas.")
        settings = self._systems.called(System("registry", options), self._paths.folder)
        return HttpRegistry(settings.text("url"), Calls.of(settings.options))

    def reach(self, system: System, limit_s: float, contract: str = "sink") -> str:
        """Connect to a system's server and disconnect; return `host:port`. Raises: TransientError, UsageError."""
        return reached(filled(system).text("url"), limit_s, settings_of(contract, system.kind).schemes)

    def open_store(self, *, read_only: bool) -> Log:
        if (store := self._store()) is None:
            kept: Log = load_entry("log.sqlite")(self._paths.log, read_only=read_only)
            return kept
        lease_s = store.duration_ms("lease", "3s") / 1_000
        url = environment.fill_variables(store.text("url"), "store")
        own = self._systems.beside("log", store, self._paths.folder)
        held: Log = store_adapter(url)(url, read_only=read_only, lease_s=lease_s, **own)
        return held

    def open_people(self) -> PeopleStore:
        from shroff.adapters.people.sql import SqlPeople
        from shroff.people.audit import sealing_by

        if not self._log.exists():
            self.prepare_state()
            with suppress(LogBusyError):  # another process is making it
                self._log.open(read_only=False).close()
        seal = sealing_by(lambda: hash_keys.key_for(self._paths, "shroff audit 1", self._log.refuse_a_second_key))
        store = self._store()
        return SqlPeople(
            self._paths.log if store is None else environment.fill_variables(store.text("url"), "store"), seal
        )

    def open_provider(self) -> Provider | None:
        """Return the OpenID provider for sign-in, None if none is set. Raises: UsageError as its adapter."""
        if self._systems.sign_in is None:
            return None
        from shroff.adapters.people.oidc import provider_of

        return provider_of(self._systems.called(self._systems.sign_in, self._paths.folder))

    def open_source(self, system: System) -> Source:
        """Open the live source of these settings. Raises: UsageError if they contradict each other."""
        from shroff.events.formats.wire import JsonDecoder
        from shroff.streams.merge import merge_of

        definitions = self._definitions
        settled = self._systems.source_in(self._paths.folder, system)
        events, settings = definitions.events, definitions.settings
        is_json = settled.text("format", "json") == "json"
        decoder: Decoder = JsonDecoder() if is_json else self._avro_of(system)
        merge = merge_of(events, settings, decoder.format, settled.duration_ms("wait", "0s"))
        source: Source = load_entry(f"source.{system.kind}")(settled, decoder, project=settings.name, merge=merge)
        return source

    def open_sender(self, system: System) -> tuple[Sender, Callable[[bool], Encoder]]:
        """Return the sender to a live source, and a factory of its message encoder, called with `names_type`.

        Raises: UsageError if no adapter sends to this kind of source.
        """
        if not can_send(system):
            kinds = ", ".join(name.removeprefix(_SENDER) for name in sorted(entries()) if name.startswith(_SENDER))
            raise UsageError(f"shroff does not send to a source of the kind {system.kind}; it sends to {kinds}.")
        definitions = self._definitions
        settled = self._systems.source_in(self._paths.folder, system)
        sender: Sender = load_entry(f"{_SENDER}{system.kind}")(settled, project=definitions.settings.name)
        return sender, lambda names_type: encoder_of(
            settled, definitions, sender, lambda _: self.open_registry(system), names_type=names_type
        )

    def open_online(self, log: Log | None) -> OnlineStore:
        """Open the online store, which serves features to other services. Raises: UsageError if none is set."""
        from shroff.worker.online_features import origin_of

        if self._systems.online is None:
            raise UsageError(NOT_THERE)
        online = filled(self._systems.online)
        scheme = online.text("url").partition(":")[0]
        if not (kind := kind_at("features", scheme)):
            raise UsageError(online_mistake(scheme))
        store: OnlineStore = load_entry(f"features.{kind}")(
            online.text("url"),
            prefix=online.text("prefix") or self._definitions.settings.name,
            log="" if log is None else origin_of(log),
            ttl_ms=online.duration_ms("ttl", "0ms"),
            **self._systems.beside("features", online, self._paths.folder),
        )
        return store

    def open_sink(self, name: str, system: System) -> Sink:
        """Open a sink. `name` must be unique across projects. Raises: UsageError for wrong settings."""
        settled = self._systems.settled("sink", system, self._paths.folder)
        sink: Sink = load_entry(f"sink.{system.kind}")(name, settled)
        return sink

    def open_files(self, paths: Sequence[Path], type: str | None, format: str | None, tell: Tell) -> Source:
        """Open files as a source. Raises: UsageError if one cannot be read."""
        from shroff.adapters.sources.files import FileSource
        from shroff.events.intake import Intake

        definitions = self._definitions
        intake = Intake(definitions.events, definitions.settings, None)

        def begun(lines: Lines, source: str, as_type: str | None) -> Lines:
            """Check the head of a file before any of its lines is ingested."""
            intake.lay_out(lines, source, as_type)
            if as_type is not None:
                intake.submissions(lines, source, as_type)
            return lines

        return FileSource(paths, type, format, begun, tell)

    def has_store(self) -> bool:
        store = self._store()
        if store is None:
            return self._paths.log.exists()
        url = environment.fill_variables(store.text("url"), "store")
        own = self._systems.beside("log", store, self._paths.folder)
        return bool(store_adapter(url).is_there(url, **own))

    def _store(self) -> System | None:
        return None if self._paths.is_elsewhere else self._systems.store

    def prepare_state(self) -> None:
        """Create the state folder, and the key of hashed fields before the log records hashed values."""
        make_state_folder(self._paths)
        if self._definitions.events.has_hashed:
            self._log.hasher("")


def open_sources(
    context: ProjectContext, systems: Mapping[str, System], tell: Tell = unheard, note: Note | None = None
) -> SeveralSources:
    """Open sources that are read together, by name. Raises: as `AdapterFactory.open_source`."""
    from shroff.worker.serving.multi_source import SeveralSources

    outside = AdapterFactory(context)
    with ExitStack() as held:
        sources = {name: held.enter_context(closing(outside.open_source(system))) for name, system in systems.items()}
        held.pop_all()
    claims = {system.kind: _claims(system.kind, systems, context.systems.source) for system in systems.values()}
    return SeveralSources(sources, claims, tell, note)


def _claims(kind: str, systems: Mapping[str, System], unnamed: System | None) -> dict[str, set[str]]:
    """Map each topic of a kind of source to the names of the sources that read it.

    The unnamed source owns its topics alone: the log has its positions from before sources had names.
    """
    claims: dict[str, set[str]] = defaultdict(set)
    named = sorted(
        (system is unnamed and name == kind, name) for name, system in systems.items() if system.kind == kind
    )
    for is_unnamed, name in named:  # the unnamed one last
        for topic in _topics_of(systems[name]):
            claims[topic] = {name} if is_unnamed else {*claims[topic], name}
    return claims


def _topics_of(system: System) -> list[str]:
    named = system.options.get(settings_of("source", system.kind).types, {})
    declared = [topic for topics in named.values() for topic in ([topics] if isinstance(topics, str) else topics)]
    return [*declared, *([labels] if (labels := system.text("labels")) else [])]


def make_state_folder(places: config.ProjectPaths) -> None:
    """Create the state folder. Raises: StorageError if that fails."""
    try:
        state_folder.make_folder(places.state)
    except OSError as error:
        raise StorageError(
            f"{os_words(error, places.state, ' cannot be made')}. The log needs a folder that it may write."
        ) from None


def encoder_of(
    system: System,
    definitions: Definitions,
    sender: Sender,
    registry: Callable[[System], SchemaRegistry],
    *,
    names_type: bool,
) -> Encoder:
    """Return the message encoder of a live source.

    Raises: UsageError if it sends Avro and has no registry.
    """
    if system.text("format", "json") == "json":
        from shroff.events.formats.wire import JsonEncoder

        return JsonEncoder(definitions.events, names_type=names_type)
    from shroff.events.avro.wire import AvroEncoder

    topics = targets(sender, definitions.events)
    return AvroEncoder(registry(system), definitions.events, topics, settings=definitions.settings)


def targets(sender: Sender, events: Events) -> TextDict:
    """Map event types, and labels, to their topic or stream; types without one are left out."""
    target_by_type = {}
    for name in (*events.types, LABEL):
        try:
            target_by_type[name] = sender.target(name).name
        except UsageError:
            continue
    return target_by_type


def can_send(system: System) -> bool:
    return entry_point(f"{_SENDER}{system.kind}") is not None


def store_adapter(url: str) -> Any:
    """Return the log adapter for an address. Raises: UsageError for an unknown scheme, without showing the address."""
    kind = kind_at("log", url.partition(":")[0])
    if not kind:
        raise UsageError(f"a store is {first_schemes('log')}, and this address is none.")
    return load_entry(f"log.{kind}")


def reached(url: str, limit_s: float, ports: Mapping[str, int | None]) -> str:
    """Open a connection to the server at `url` and close it; return `host:port`.

    `ports` has the default port of each scheme. If `url` names several hosts, as for MongoDB, one that answers is
    enough.

    Raises: TransientError if none accepts within `limit_s`, without credentials; UsageError if `url` has no host and
    port.
    """
    scheme, _, rest = url.partition("://")
    hosts = rest.partition("/")[0].partition("?")[0].rpartition("@")[2].split(",")
    reasons = []
    for address in hosts:
        host, port = None, None
        with suppress(ValueError):
            parts = urlsplit(f"//{address}")
            host, port = parts.hostname, parts.port or ports.get(scheme)
        if not host or port is None:
            raise UsageError("its address has no host and port that can be read.")
        shown = f"{f'[{host}]' if ':' in host else host}:{port}"
        try:
            socket.create_connection((host, port), limit_s / len(hosts)).close()
        except OSError as error:
            reasons.append(f"{shown} does not take connections: {_reason(error)}")
        else:
            return shown
    raise TransientError("; ".join(reasons))


def _reason(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error.strerror or error).lower()
