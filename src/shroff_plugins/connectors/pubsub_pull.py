"""Read live events from pull subscriptions of Google Pub/Sub (extra `pubsub`), by streaming pull of Google's library.

Pub/Sub has no offsets, and sends each message until it is acknowledged. So a message is acknowledged after the commit
of its decision, and a repeated message is recognized by its event's id. The offset of a subscription is the number of
messages returned so far, an `@`, and the id of this run, so that a run recognizes its own offsets.
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
    service_error,
    shortened,
)

try:
    from google.api_core import exceptions as api
    from google.cloud import pubsub_v1
    from google.pubsub_v1 import PubsubMessage
except ImportError:
    raise UsageError(NEEDS) from None

QUIET_S = 0.05  # silence after which other subscriptions do not wait for this one
AGAIN_S = 2.0  # between tries to open a stream, and until an open stream counts as healthy
PROBE_S = 10.0  # silence before Pub/Sub is probed
LEASE_S = 7 * 86_400.0  # deadlines are extended for so long; Pub/Sub's default retention of a message
CLOSE_S = 5.0


class _Subscription:
    """A subscription and its messages that are not acknowledged.

    Attributes:
        came: Received messages; filled by a thread of the library.
        held: Messages that are in the merge, or were returned and are not acknowledged, in their order.
        acked: Number of acknowledged messages.
        given: Number of returned messages.
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
            with suppress(Exception):  # the error of an ended stream does not matter
                pulling.result(timeout=timeout_s)
        open_ids = [message.ack_id for message in (*self.held, *self.came)]
        self.held.clear()
        self.came.clear()
        return open_ids


class PubsubPullSource(MergingSource):
    """A source of pull subscriptions. It keeps the contract of `streams.source.Source` except for positions.

    A part is a subscription. Messages with an ordering key arrive in order, one at a time: the library returns the next
    message of a key once the previous one is acknowledged.

    Args:
        system: Settings with their defaults: `subscriptions`, and others of `settings.PUBSUB_PULL`.
        decoder: Decodes the messages.
        project: Not used, as Pub/Sub distributes messages among all clients of a subscription.

    Raises: UsageError if the settings contradict each other.
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
        read_numbers = {name: _number_of(offset) for name, (offset, _) in stored.items()}
        self._check_subscriptions()
        self._away = ""
        self._probed_s = time.monotonic()
        self.merge.clear()
        for name, part in self._parts.items():
            number, token = read_numbers[name]
            if token == self._token:
                part.ack(number)  # these messages are committed, but were not acknowledged
            with self._arrival:
                part.restart(number)
            self.merge.open(name, part.type, stored[name][1])
            if part.pulling is None:
                self._pull(part)

    def look(self, offsets: TextMapping) -> list[PartLag]:
        self._check_subscriptions()
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
            raise TransientError(str(service_error(error, self._dead_letters))) from None
        except UsageError as error:
            raise TransientError(str(error)) from None

    def health(self) -> Health:
        here = sum(len(part.came) for part in self._parts.values()) + self.merge.count
        troubles = [self._away, self._trouble, *(part.trouble for part in self._parts.values())]
        merge = self.merge  # a lower bound: Pub/Sub does not tell its backlog
        return Health(
            here or None, self._errors, 0, [word for word in troubles if word], merge.overtaken, merge.overtaken_ms
        )

    def close(self) -> None:
        for part in self._parts.values():
            unreturned = part.end(0.0 if self._away else CLOSE_S)
            with suppress(api.GoogleAPICallError):  # their leases run out
                self._send_again(part.name, () if self._away else unreturned)
        client = self._client
        self._client = None
        if client is not None and self._away:  # the library waits for up to 10 s between its tries to open a stream
            Thread(target=client.close, name="pubsub close", daemon=True).start()
        elif client is not None:
            client.close()
        self._letters.close()

    def _send_again(self, name: str, ids: Sequence[str]) -> None:
        """Have Pub/Sub deliver messages again at once, to any worker."""
        for start in range(0, len(ids), AT_ONCE):
            self._client.modify_ack_deadline(
                subscription=name, ack_ids=ids[start : start + AT_ONCE], ack_deadline_seconds=0
            )

    # ---- reading

    def _check_subscriptions(self) -> None:
        """Check that all subscriptions exist and can be pulled, if this account may read them. Raises: as `look`."""
        for name in self._parts:
            try:
                subscription = self._open_client().get_subscription(subscription=name, retry=None, timeout=ANSWER_S)
            except api.Forbidden:
                continue  # a subscriber may only pull
            except api.GoogleAPICallError as error:
                raise service_error(error, name) from None
            endpoint = subscription.push_config.push_endpoint
            if endpoint:
                raise UsageError(
                    f"{name} pushes its messages to {endpoint}. Create a subscription that is "
                    "pulled, or take what it pushes with the kind 'pubsub' under sources."
                )

    def _open_client(self) -> Any:
        if self._client is None:
            self._client = client_of(pubsub_v1.SubscriberClient)
            self._client.modify_ack_deadline = _extending_once(self._client.modify_ack_deadline)
        return self._client

    def _probe(self) -> None:
        """Check that Pub/Sub answers, since the library retries silently. This runs in a separate thread."""
        try:
            self._check_subscriptions()
        except TransientError as error:
            self._errors = self._errors + 1
            self._away = str(error)
        except (ShroffError, ValueError):  # the stream's own error says more; ValueError means a closed client
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
        part.pulling = self._open_client().subscribe(part.name, arrived, flow_control=self._flow, scheduler=scheduler)

    def _mend(self) -> None:
        """Reopen ended streams; after `PROBE_S` of silence, probe Pub/Sub."""
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
                part.trouble = str(service_error(error, part.name))
            self._pull(part)

    def fill(self, limit: int) -> list[PolledMessages]:
        self._mend()
        self._trouble = ""
        self.merge.doubt()
        for part in self._parts.values():
            self._decode_waiting(part)
            if time.monotonic() - part.came_s > QUIET_S:
                self.merge.pass_by(part.name)
        return []

    def taken(self, runs: Sequence[Run]) -> list[PolledMessages]:
        return [self._messages_of(*run) for run in runs]

    def _decode_waiting(self, part: _Subscription) -> None:
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

    def _messages_of(self, name: str, lines: list[Line], offset_before: str) -> PolledMessages:
        part = self._parts[name]
        part.given += len(lines)
        offset = stored_offset(f"{part.given}@{self._token}", offset_before)
        return PolledMessages(name, part.type, self._decoder.format, lines, offset)

    def wait(self, wait_s: float) -> None:
        with self._arrival:
            if self._trouble or not any(part.came for part in self._parts.values()):
                self._arrival.wait(min(wait_s, QUIET_S if self.merge.count else AGAIN_S))


def _extending_once(extend: Callable[..., None]) -> Callable[..., None]:
    """Wrap the library's call that extends leases: without retries, and without an error that ends its thread.

    A failed extension does no harm, as the library sends the next one in a few seconds.
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
    details = refused.details(is_whole=is_whole)
    return PubsubMessage(
        data=refused.raw if is_whole else b"", attributes={name: shortened(value) for name, value in details.items()}
    )
