"""Pushed sources: their requests, subscriptions and counts of messages."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import InputError, TransientError, UsageError, nearest
from shroff.json_types import JsonMapping
from shroff.project.settings.system import filled
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.entry_points import load_entry
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_files import intake_of
from shroff.streams.push import SUBSCRIBE, UNSUBSCRIBE, FetchNeededError, Push, PushRefusedError, PushSource
from shroff.worker.pushed import PushReader, own_types

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterator, Mapping

    from shroff.config import ProjectPaths
    from shroff.project.definitions import Definitions
    from shroff.project.settings.sources import NamedSource
    from shroff.project.settings.system import System
    from shroff.project.settings.systems import Systems
    from shroff.services.context import ProjectContext

FETCHED_BYTES_MAX = 64 * 1024  # of a certificate, or of the answer to a confirmation
FETCH_TIMEOUT = "5s"
REASONS_MAX = 50  # kinds of messages, and reasons, with a count of their own
PENDING, CONFIRMED, UNSUBSCRIBED = "pending", "confirmed", "unsubscribed"


class Subscription(msgspec.Struct):
    """State of a source's subscription to a topic: waits for confirmation, is confirmed, or was ended."""

    topic: str
    state: str
    at_ms: int
    id: str = ""  # of the message that set this state
    confirm: str = ""  # URL that confirms it
    sent: str = ""  # time of that message at its sender; older messages are ignored


class SourceCounts(msgspec.Struct):
    """Counts of a source's messages since its first one; refused requests by reason."""

    appended: int = 0
    duplicates: int = 0
    quarantined: int = 0
    skipped: dict[str, int] = {}
    refused: dict[str, int] = {}
    received_ms: int | None = None  # when the last message came
    event_ms: int | None = None  # when the last new event happened
    waiting: int | None = None  # backlog of a source that is read, if known
    failing: str = ""  # why it cannot be read; `failing_ms` is since when
    failing_ms: int | None = None

    def add(self, by: dict[str, int], name: str, count: int = 1) -> None:
        """Count under a name, or under `others` after `REASONS_MAX` names."""
        key = name if name in by or len(by) < REASONS_MAX else "others"
        by[key] = by.get(key, 0) + count


class ReadView(NamedTuple):
    """A named source that is read, and this machine's counts of its messages."""

    name: str
    system: System
    counts: SourceCounts


class JudgedMessage(msgspec.Struct):
    """Result that a saved message would have.

    Attributes:
        type: What its sender calls it; empty where it is no message of this source.
        reason: Why it is refused; empty where it is accepted.
        would_fetch: The address from which a certificate would be fetched to judge it.
        would_confirm: Where its subscription would be confirmed.
    """

    file: str
    accepted: bool
    type: str
    reason: str
    would_fetch: str | None
    would_confirm: str | None = None


def known_source(name: str, sources: Mapping[str, NamedSource], what: str) -> NamedSource:
    """Return a source by name. Raises: UsageError if there is none of this kind, `pushed` or `pulled`."""
    if name not in sources:
        hint = f"There is {', '.join(sources)}." if sources else f"shroff.yaml has no {what} source under 'sources:'."
        raise UsageError(f"there is no {what} source {name!r}. {nearest(name, sources) or hint}")
    return sources[name]


class SourceFiles:
    """Files of pushed sources beside the log, in `.shroff/sources/`."""

    def __init__(self, places: ProjectPaths) -> None:
        self._folder = places.state / "sources"

    def counts(self, name: str) -> SourceCounts:
        """Read the counts of a source's messages; zeros if the file is missing or damaged."""
        return self._read(self._folder / f"{name}.json", SourceCounts) or SourceCounts()

    def keep_counts(self, name: str, counts: SourceCounts) -> None:
        self._write(self._folder / f"{name}.json", counts)

    def subscriptions(self, name: str) -> list[Subscription]:
        found = (self._read(path, Subscription) for path in self._folder.glob(f"{name}-*.json"))
        return sorted(
            (subscription for subscription in found if subscription is not None),
            key=lambda subscription: subscription.topic,
        )

    def keep_subscription(self, name: str, subscription: Subscription) -> None:
        digest = hashlib.sha256(subscription.topic.encode()).hexdigest()[:16]
        self._write(self._folder / f"{name}-{digest}.json", subscription)

    def _read(self, path: Path, type_: type[Any]) -> Any:
        try:
            return from_json(path.read_bytes(), type=type_)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self, path: Path, content: msgspec.Struct) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(to_json(content))


class PushedSources(ProjectPart):
    """Pushed sources of a project."""

    _people: ProjectPeople

    @cached_property
    def files(self) -> SourceFiles:
        return SourceFiles(self._paths)

    def all(self) -> list[tuple[NamedSource, SourceCounts, list[Subscription]]]:
        named = self._systems.sources
        return [(text, self.files.counts(name), self._subscriptions(text)) for name, text in named.items()]

    def _subscriptions(self, source: NamedSource) -> list[Subscription]:
        subscriptions = self.files.subscriptions(source.name)
        with suppress(UsageError):  # an unset variable: the topics are not known
            topics = filled(source.system).options.get("topics", ())
            subscriptions = [subscription for subscription in subscriptions if subscription.topic in topics]
        return subscriptions

    def named(self, name: str) -> NamedSource:
        """Get a source by its name. Raises: UsageError if there is none."""
        return known_source(name, self._systems.sources, "pushed")

    def opened(self, source: NamedSource, fetch: Callable[[str], bytes] | None = None) -> PushSource:
        """Open the adapter of a source. Raises: UsageError if its library or a variable is missing."""
        options = self._systems.settled("push", source.system, self._paths.folder)
        if fetch is not None:
            options = {name: value for name, value in options.items() if name not in {"certificates", "password"}}
        adapter: PushSource = load_entry(f"push.{source.system.kind}")(options, fetch or fetching(options))
        return adapter

    def judged(
        self, name: str, files: Mapping[str, bytes], at_ms: int, certificates: Mapping[str, bytes]
    ) -> list[JudgedMessage]:
        """Verify saved messages as if they arrived now, or at a time. Nothing is stored, and no request is sent.

        Args:
            certificates: Files by their names, as in the addresses of certificates.

        Raises: UsageError unless the source is SNS: others sign in the request's headers.
        """

        def at_hand(url: str) -> bytes:
            found = certificates.get(Path(urlsplit(url).path).name)
            if found is None:
                raise TransientError("its certificate is not at hand")
            return found

        named = self.named(name)  # with a fresh adapter for each: a cached certificate would not be fetched
        if named.system.kind != "sns":
            words = (
                f"{name} is of {named.system.kind}, whose requests are signed in their headers: a body is not enough"
            )
            raise UsageError(f"{words}. Only messages of SNS can be tested from files.")
        return [_judged(self.opened(named, at_hand), file, body, at_ms) for file, body in files.items()]

    def confirm(self, name: str, topic: str = "") -> list[str]:
        """Confirm the pending subscriptions, or that of one topic, at their senders; return the topics.

        Each is in the audit log.

        Raises: UsageError if none waits; TransientError if a sender cannot be reached.
        """
        named = self.named(name)
        waiting = [subscription for subscription in self._subscriptions(named) if subscription.state == PENDING]
        pending = [subscription for subscription in waiting if not topic or subscription.topic == topic]
        if not pending:
            raise UsageError(f"no subscription of {name} waits to be confirmed. 'shroff sources list' shows them.")
        source = self.opened(named)
        for subscription in pending:
            source.confirm(
                Push(SUBSCRIBE, subscription.id, b"", topic=subscription.topic, confirm=subscription.confirm)
            )
            subscription.state, subscription.at_ms, subscription.confirm = CONFIRMED, self._now_ms(), ""
            self.files.keep_subscription(name, subscription)
            self._people.record("source.confirm", name, None, {"topic": subscription.topic})
        return [subscription.topic for subscription in pending]

    def troubles(self) -> Iterator[tuple[str, str, int]]:
        """List problems that block messages, with their source and since when."""
        for name, named in self._systems.sources.items():
            for subscription in self._subscriptions(named):
                if subscription.state == PENDING:
                    yield (
                        name,
                        f"the subscription to {subscription.topic} waits: 'shroff sources confirm {name}'",
                        subscription.at_ms,
                    )
                elif subscription.state == UNSUBSCRIBED:
                    yield (
                        name,
                        f"{subscription.topic} was unsubscribed: subscribe it again if that was not meant",
                        subscription.at_ms,
                    )


class ServedPushes:
    """Pushed sources of a running service. Call it on the event loop, except `fetch`, `subscribe` and `save`."""

    def __init__(self, context: ProjectContext) -> None:
        self._context, self._project = context, ProjectParts(context).pushed
        self._systems: Systems | None = None
        self._sources: dict[str, PushSource | UsageError] = {}
        self._counts: dict[str, SourceCounts] = {}
        self._dirty: set[str] = set()
        self._lock = Lock()  # around what is written
        self.is_saving = False  # a call of `save` is scheduled
        self.long_bodies = 0  # held in memory before their sender is verified
        self.fetches: dict[tuple[str, str], Future[None]] = {}  # running, by source and target
        self._read_for: tuple[Definitions | None, Systems | None] = None, None
        self._reader: PushReader | None = None

    def open(self) -> None:
        """Open all sources. Raises: UsageError as `PushedSources.opened`."""
        for name in self._context.systems.sources:
            self.of(name)

    def of(self, name: str) -> tuple[NamedSource, PushSource] | None:
        """Return a source and its adapter; None if there is none of this name. Raises: as `PushedSources.opened`."""
        systems = self._context.systems
        if systems is not self._systems:
            self._systems, self._sources = systems, {}
        named = systems.sources.get(name)
        if named is None:
            return None
        if name not in self._sources:
            try:
                self._sources[name] = self._project.opened(named)
            except UsageError as error:  # until the settings change, so that requests do not load libraries again
                self._sources[name] = error
        source = self._sources[name]
        if isinstance(source, UsageError):
            raise UsageError(str(source))
        return named, source

    def reader(self, definitions: Definitions) -> PushReader:
        before, systems = self._read_for
        if self._reader is None or before is not definitions or systems is not self._systems:
            context = self._context
            own = own_types(context.systems, definitions.events)
            intake = intake_of(context, keeps_hashes=False, definitions=definitions)
            self._reader = PushReader(definitions, intake, own, context.now_ms)
            self._read_for = definitions, self._systems
        return self._reader

    def subscribe(self, named: NamedSource, source: PushSource, push: Push) -> str:
        """Store the state that a message sets for its subscription, confirming it if the settings say so; return the
        state.

        A repeated message, or one older than the last of its topic, changes nothing and sends no request.
        """
        files, now_ms = self._project.files, self._context.now_ms()
        is_auto = push.kind != UNSUBSCRIBE and named.system.text("subscribe", "ask") == "auto"
        with self._lock:
            before = next(
                (subscription for subscription in files.subscriptions(named.name) if subscription.topic == push.topic),
                None,
            )
            if before is not None and (before.id == push.id or push.sent <= before.sent):
                return before.state
            if is_auto:
                source.confirm(push)
            state = CONFIRMED if is_auto else PENDING
            if push.kind == UNSUBSCRIBE:
                state = UNSUBSCRIBED
            confirm = push.confirm if state == PENDING else ""
            updated = Subscription(push.topic, state, now_ms, push.id, confirm, push.sent)
            files.keep_subscription(named.name, updated)
        return state

    def counts(self, name: str) -> SourceCounts:
        """Return the counts of a source's messages, to be increased by the caller."""
        if name not in self._counts:
            self._counts[name] = self._project.files.counts(name)
        self._dirty.add(name)
        return self._counts[name]

    def save(self) -> None:
        """Store the changed counts; if that fails, they are stored with the next change."""
        self.is_saving = False
        for name in list(self._dirty):
            with suppress(OSError), self._lock:
                self._dirty.discard(name)  # first, so that counts added meanwhile are stored next time
                self._project.files.keep_counts(name, self._counts[name])


def _judged(source: PushSource, file: str, body: bytes, at_ms: int) -> JudgedMessage:
    fetched: str | None = None
    try:
        while True:
            try:
                push = source.verified({}, body, at_ms)
                return JudgedMessage(
                    file,
                    accepted=True,
                    type=push.type,
                    reason="",
                    would_fetch=fetched,
                    would_confirm=push.confirm or None,
                )
            except FetchNeededError as error:
                if fetched is not None:
                    raise
                fetched = error.url
                source.fetch(error.url)
    except (PushRefusedError, TransientError) as error:
        words = error.mistakes[0][1] if isinstance(error, InputError) else str(error)
        return JudgedMessage(file, accepted=False, type=_type_in(body), reason=words, would_fetch=fetched)


class _Typed(msgspec.Struct):
    Type: str = ""


def _type_in(body: bytes) -> str:
    try:
        return from_json(body, type=_Typed).Type[:100]
    except (ValueError, RecursionError):
        return ""


def fetching(options: JsonMapping) -> Callable[[str], bytes]:
    """Return the HTTPS client configured by `http:` of shroff.yaml; it follows no redirects."""
    from shroff.adapters.http_calls import Calls, reason, target_of

    calls = Calls.of({**options, "timeout": options.get("timeout", FETCH_TIMEOUT)})

    def fetch(url: str) -> bytes:
        parts = urlsplit(url)
        client = calls.client("https", parts.hostname or "", parts.port, answer_bytes_max=FETCHED_BYTES_MAX)
        try:
            found = client.call("GET", target_of(parts))
        except OSError as error:
            raise TransientError(f"the host {parts.hostname} cannot be reached: {reason(error)}") from None
        finally:
            client.close()
        if found.status >= 500 or found.status == 429:
            raise TransientError(f"the host {parts.hostname} answers with status {found.status}")
        if found.status != 200:
            raise LookupError(found.status)
        return found.body

    return fetch
