"""Live events from pull subscriptions of Google Pub/Sub (extra `pubsub`), by the streaming pull of Google's library.

Pub/Sub has no offsets: it sends whatever was not acknowledged. So a message is acknowledged behind the commit that it
was decided in, and one that comes again is known by its event's id. An offset is how many messages of a subscription
were given so far, and behind an `@` by which run of this program: by it we know ours again, and nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Condition, Thread
from typing import Any

from shroff.errors import SchemasAwayError, ShroffError, StateError, TransientError, UsageError
from shroff.json_types import TextMapping
from shroff.plugins.adapters import (
    Decoder,
    Health,
    Line,
    Merge,
    MergingSource,
    PartLag,
    PolledMessages,
    Run,
    System,
    split_offset,
    stored_offset,
)
from shroff.plugins.log import Refused
from shroff_plugins.connectors.pubsub import (
    ANSWER_S,
    AT_ONCE,
    MESSAGE_BYTES_MAX,
    NEEDS,
    Publisher,
    client_of,
    shortened,
    told,
)

try:
    from google.api_core import exceptions as api
    from google.cloud import pubsub_v1
    from google.pubsub_v1 import PubsubMessage
except ImportError:
    raise UsageError(NEEDS) from None

QUIET_S = 0.05  # of silence, after which other subscriptions do not wait for this one
AGAIN_S = 2.0  # between tries to open a stream, and until an open one counts as sound
PROBE_S = 10.0  # of silence before Pub/Sub is probed
LEASE_S = 7 * 86_400.0  # for which deadlines are extended: as long as Pub/Sub keeps a message by default
CLOSE_S = 5.0


class _Subscription:
    """A subscription: what came, and what of that is not acknowledged, in the order in which it is given.

    `came` is filled by a thread of the library. `held` are the messages behind the first `acked`, which are in the
    merge or were given; `given` is the number of the last one that was given.
    """

    def __init__(self, name: str, type_: str | None) -> None:
        self.name = name
        self.type = type_
        self.came: deque[Any] = deque()
        self.held: deque[Any] = deque()
        self.acked = self.given = 0
        self.came_s = self.opened_s = float("-inf")
        self.pulling: Any = None
        self.trouble = ""

    def ack(self, upto: int) -> None:
        for _ in range(min(upto, self.given) - self.acked):
            self.held.popleft().ack()
            self.acked += 1

    def restart(self, number: int) -> None:
        """Return unacknowledged messages again, the first as `number + 1`."""
        self.came.extendleft(reversed(self.held))
        self.held.clear()
        self.acked = self.given = number

    def end(self, timeout_s: float) -> list[str]:
        """Stop pulling; return the ack ids of all unacknowledged messages."""
        pulling = self.pulling
        self.pulling = None
        if pulling is not None:
            pulling.cancel()
            with suppress(Exception):  # an end is an end, whatever the stream ended with
                pulling.result(timeout=timeout_s)
        left = [message.ack_id for message in (*self.held, *self.came)]
        self.held.clear()
        self.came.clear()
        return left


class PubsubPullSource(MergingSource):
    """Keeps the promises of `streams.source.Source` over subscriptions, but those that need positions.

    A part is a subscription. Messages with an ordering key come in their order, one after the other: the library gives
    the next one of a key when the one before is acknowledged.

    Args:
        system: The settings, filled: `subscriptions`, and what else `settings.PUBSUB_PULL` names.
        decoder: Of the messages.
        project: Not needed: Pub/Sub shares messages out among all who pull.

    Raises: UsageError where the settings contradict each other.
    """

    name = "pubsub_pull"

    def __init__(self, system: System, decoder: Decoder, *, project: str, merge: Merge) -> None:
        self._decoder = decoder
        self.merge = merge
        types = system.part_types(system.options["subscriptions"].items(), "subscription")
        self._parts = {name: _Subscription(name, type_) for name, type_ in types.items()}
        self._flow = pubsub_v1.types.FlowControl(
            max_messages=int(system.text("messages", "5000")),
            max_bytes=int(system.text("bytes", str(64 << 20))),
            max_lease_duration=LEASE_S,
        )
        self._dead_letters = system.text("dead_letters")
        self._letters = Publisher(self._dead_letters)
        self._token = secrets.token_hex(4)
        self._client: Any = None
        self._arrival = Condition()
        self._errors = 0
        self._trouble = ""
        self._away = ""
        self._probed_s = float("-inf")

    def __repr__(self) -> str:
        return f"<PubsubPullSource {', '.join(self._parts)}>"

    @property
    def takes_refused(self) -> bool:
        return bool(self._dead_letters)

    # ---- the contract

    def start(self, offsets: TextMapping) -> None:
        stored = {name: split_offset(offsets.get(name, "0")) for name in self._parts}
        read = {name: _number_of(offset) for name, (offset, _) in stored.items()}
        self._look()
        self._away = ""
        self._probed_s = time.monotonic()
        self.merge.clear()
        for name, part in self._parts.items():
            number, token = read[name]
            if token == self._token:
                part.ack(number)  # it was committed, without confirmation
            with self._arrival:
                part.restart(number)
            self.merge.open(name, part.type, stored[name][1])
            if part.pulling is None:
                self._pull(part)

    def look(self, offsets: TextMapping) -> list[PartLag]:
        self._look()
        return [PartLag(name, None, is_counted=False) for name in sorted(self._parts)]

    def acknowledge(self, offsets: TextMapping) -> None:
        for name in self._parts.keys() & offsets.keys():
            number, token = _number_of(split_offset(offsets[name])[0])
            if token == self._token:
                self._parts[name].ack(number)

    def refuse(self, refused: Sequence[Refused]) -> None:
        try:
            self._letters.publish([_dead_letter(row) for row in refused])
        except (api.GoogleAPICallError, api.RetryError) as error:
            raise TransientError(str(told(error, self._dead_letters))) from None
        except UsageError as error:
            raise TransientError(str(error)) from None

    def health(self) -> Health:
        here = sum(len(part.came) for part in self._parts.values()) + self.merge.count
        words = [self._away, self._trouble, *(part.trouble for part in self._parts.values())]
        merge = self.merge  # a lower bound: Pub/Sub does not tell its backlog
        return Health(
            here or None, self._errors, 0, [word for word in words if word], merge.overtaken, merge.overtaken_ms
        )

    def close(self) -> None:
        for part in self._parts.values():
            left = part.end(0.0 if self._away else CLOSE_S)
            with suppress(api.GoogleAPICallError):  # their leases run out
                self._send_again(part.name, () if self._away else left)
        client = self._client
        self._client = None
        if client is not None and self._away:  # the library waits for up to 10 s between its tries to open a stream
            Thread(target=client.close, name="pubsub close", daemon=True).start()
        elif client is not None:
            client.close()
        self._letters.close()

    def _send_again(self, name: str, ids: Sequence[str]) -> None:
        """Have Pub/Sub deliver messages again at once, to any worker."""
        for at in range(0, len(ids), AT_ONCE):
            self._client.modify_ack_deadline(subscription=name, ack_ids=ids[at : at + AT_ONCE], ack_deadline_seconds=0)

    # ---- reading

    def _look(self) -> None:
        """See that all subscriptions are there and can be pulled, where we may ask. Raises: as `look`."""
        for name in self._parts:
            try:
                found = self._opened().get_subscription(subscription=name, retry=None, timeout=ANSWER_S)
            except api.Forbidden:
                continue  # a subscriber may only pull
            except api.GoogleAPICallError as error:
                raise told(error, name) from None
            if found.push_config.push_endpoint:
                raise UsageError(
                    f"{name} pushes its messages to {found.push_config.push_endpoint}. Create a subscription that is "
                    "pulled, or take what it pushes with the kind 'pubsub' under sources."
                )

    def _opened(self) -> Any:
        if self._client is None:
            self._client = client_of(pubsub_v1.SubscriberClient)
            self._client.modify_ack_deadline = _extending_once(self._client.modify_ack_deadline)
        return self._client

    def _probe(self) -> None:
        """Check on a thread of its own that Pub/Sub answers, since the library retries silently."""
        try:
            self._look()
        except TransientError as error:
            self._errors = self._errors + 1
            self._away = str(error)
        except (ShroffError, ValueError):  # what a stream ends with says more; a client that was closed says nothing
            self._away = ""
        else:
            self._away = ""

    def _pull(self, part: _Subscription) -> None:
        def arrived(message: Any) -> None:
            with self._arrival:
                part.came.append(message)
                part.came_s = time.monotonic()
                self._arrival.notify()

        part.opened_s = time.monotonic()
        threads = ThreadPoolExecutor(1, thread_name_prefix="pubsub")  # one, so that order is kept
        scheduler = pubsub_v1.subscriber.scheduler.ThreadScheduler(threads)
        part.pulling = self._opened().subscribe(part.name, arrived, flow_control=self._flow, scheduler=scheduler)

    def _mend(self) -> None:
        """Open ended streams again; after `PROBE_S` of silence, probe Pub/Sub."""
        now_s = time.monotonic()
        came_s = max(part.came_s for part in self._parts.values())
        if now_s - max(came_s, self._probed_s) >= PROBE_S:
            self._probed_s = now_s
            Thread(target=self._probe, name="pubsub probe", daemon=True).start()
        for part in self._parts.values():
            if part.pulling is None or time.monotonic() - part.opened_s < AGAIN_S:
                continue
            if not part.pulling.done():
                part.trouble = ""
                continue
            try:
                part.pulling.result(timeout=0)
            except Exception as error:  # noqa: BLE001 - the library hands on whatever ended the stream
                self._errors = self._errors + 1
                part.trouble = str(told(error, part.name))
            self._pull(part)

    def fill(self, limit: int) -> list[PolledMessages]:
        self._mend()
        self._trouble = ""
        self.merge.doubt()
        for part in self._parts.values():
            self._take_in(part)
            if time.monotonic() - part.came_s > QUIET_S:
                self.merge.pass_by(part.name)
        return []

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        return [self._taken(*run) for run in runs]

    def _take_in(self, part: _Subscription) -> None:
        """Decode messages into waiting lines, up to the first without an available schema."""
        lines: list[Line] = []
        for message in list(part.came):
            try:
                id_ = message.message_id
                line = self._decoder.line(int("".join(filter(str.isdecimal, id_)) or 0), message.data)
                line.where = id_
                lines.append(line)
            except SchemasAwayError as error:
                self._errors = self._errors + 1
                self._trouble = str(error)
                break
            part.held.append(part.came.popleft())
        self.merge.add(part.name, lines)

    def _taken(self, name: str, lines: list[Line], before: str) -> PolledMessages:
        part = self._parts[name]
        part.given += len(lines)
        offset = stored_offset(f"{part.given}@{self._token}", before)
        return PolledMessages(name, part.type, self._decoder.format, lines, offset)

    def wait(self, wait_s: float) -> None:
        with self._arrival:
            if self._trouble or not any(part.came for part in self._parts.values()):
                self._arrival.wait(min(wait_s, QUIET_S if self.merge.count else AGAIN_S))


def _extending_once(extend: Callable[..., None]) -> Callable[..., None]:
    """What extends leases, without tries for a minute, and never with an error that ends a thread of the library.

    The library sends the next extension in a few seconds anyway.
    """

    def extending(*args: Any, **options: Any) -> None:
        try:
            extend(*args, **{"retry": None, "timeout": ANSWER_S} | options)
        except ValueError as error:  # the channel was closed meanwhile
            raise api.Cancelled(str(error)) from None

    return extending


def _number_of(offset: str) -> tuple[int, str]:
    """Parse an offset: the number of messages, and the run. Raises: StateError if it is invalid."""
    number, _, token = offset.partition("@")
    if not number.isdecimal():
        raise StateError(f"{offset!r} is not an offset in a subscription of Pub/Sub, as 1200@5f3a09c1 would be")
    return int(number), token


def _dead_letter(refused: Refused) -> Any:
    is_whole = len(refused.raw) <= MESSAGE_BYTES_MAX
    said = refused.details(is_whole=is_whole)
    return PubsubMessage(
        data=refused.raw if is_whole else b"", attributes={name: shortened(value) for name, value in said.items()}
    )
