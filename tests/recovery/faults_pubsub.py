"""The world of `shroff run` on a subscription of Pub/Sub, whose messages come again until they are acknowledged."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shroff.errors import ShroffError
from tests.support.log_memory_parts import quarantined
from tests.support.pubsubs import PubsubDesk

from .faults_embedded import killed, killed_at_a_step
from .faults_files import DONE
from .faults_input import Line, name_of
from .faults_process import Stable
from .faults_strike import Fault
from .faults_world import World

LOOK_S: Final = 0.02
LEASE_S: Final = 1.0
GIVEN_UP_S: Final = 4.0  # by a worker that is broken on purpose, and may never take all


class PubsubWorld(World):
    """Messages that tell their types themselves, in one subscription.

    Args:
        server: `pstest`'s address. Its id of a message is also that of its acknowledgement.
    """

    def __init__(self, folder: Path, seed: str, stable: Stable, server: str, broken: str = "") -> None:
        self.desk = PubsubDesk()
        self._topic = self.desk.topic()
        self.subscription = self.desk.subscription(self._topic)
        self._ids: list[str] = []
        super().__init__(folder, seed, stable, broken)
        self.env = {"PUBSUB_EMULATOR_HOST": server}
        self._there, self._grew_s, self._leased_s = Counter[str](), 0.0, 0.0

    def systems(self) -> str:
        return f"source: {{ pubsub_pull: {{ subscriptions: {{ any: {self.subscription} }} }} }}\n"

    def begin(self) -> None:
        self.worker = self._started(["run"])
        self.lease_ends()

    def lease_ends(self) -> None:
        """All that is not acknowledged is sent again at once, as it is otherwise when its lease has run out."""
        self._leased_s = time.monotonic()
        if self._ids:
            subscriber, name = self.desk.subscriber, self.subscription
            subscriber.modify_ack_deadline(subscription=name, ack_ids=self._ids, ack_deadline_seconds=0)

    def _deliver(self, given: Sequence[Line]) -> None:
        for line, id_ in zip(given, self.desk.publish(self._topic, [line.raw for line in given]), strict=True):
            self._ids.append(id_)
            self.sent.deliveries.add((self.subscription, id_, line.raw))

    def is_settled(self) -> bool:
        time.sleep(LOOK_S)
        before = self._there.total()
        self.n_settled()
        now_s = time.monotonic()
        if self._there.total() != before:
            self._grew_s = now_s
        elif now_s - max(self._grew_s, self._leased_s) > LEASE_S:  # some may have gone to a worker that was dead
            self.lease_ends()
        is_quiet = now_s - self._grew_s > GIVEN_UP_S
        there = self._there.keys()
        is_there = all(not there.isdisjoint({line.name, line.raw.decode()}) for line in self.sent.lines.values())
        return is_there or bool(self.broken and is_quiet)

    def n_settled(self) -> int:
        """How many lines are in the log, and in quarantine or waiting beside it."""
        names = {line.raw: line.name for line in self.sent.lines.values() if line.kind == "label"}
        try:
            with self.project.log.reading() as log:
                self._there = Counter(name_of(item) for part in log.read() for item in part if item.kind != "control")
                self._there.update(entry.raw.decode() for _, entry in quarantined(log))
                self._there.update(names[record.raw] for record in log.waiting.all())
        except ShroffError:  # no log yet
            return 0
        return self._there.total()

    def left(self) -> int:
        """End the worker, and count what was never acknowledged.

        What was committed is acknowledged a moment later: a worker that was killed between takes it again.
        """
        for wait_s in (2, 8, 30, 60, 0):
            self.signal(signal.SIGKILL)
            self.lease_ends()
            if not (found := self._unacknowledged()) or not wait_s:
                break
            self.begin()
            time.sleep(wait_s)
        return found

    def _unacknowledged(self) -> int:
        """How many messages somebody who pulls would get; they stay."""
        until_s = time.monotonic() + LEASE_S  # one look of many
        while not (
            found := self.desk.subscriber.pull(subscription=self.subscription, max_messages=1_000)
        ).received_messages:
            if time.monotonic() >= until_s:
                return 0
        return len(found.received_messages)

    def close(self) -> None:
        super().close()
        self.desk.close()


def ended_in_order(world: PubsubWorld) -> None:
    world.flow(30)
    world.signal(world.chance.choice([signal.SIGTERM, signal.SIGINT]))


def frozen(world: PubsubWorld) -> None:
    """Its leases run out while it holds messages: they come again, to itself."""
    world.flow(30)
    world.signal(signal.SIGSTOP)
    world.send(world.fresh(20))
    world.lease_ends()
    world.signal(signal.SIGCONT)


def delivered_again(world: PubsubWorld) -> None:
    given = world.fresh(30)
    world.send(given)
    world.send(world.chance.sample(given, len(given)))


FAULTS: Final = (
    Fault("pubsub: kill -9 at any moment", killed, frozenset({-signal.SIGKILL})),
    Fault("pubsub: kill -9 between two writes", killed_at_a_step, frozenset({-signal.SIGKILL})),
    Fault("pubsub: ended in order", ended_in_order, frozenset(DONE)),
    Fault("pubsub: leases run out", frozen),
    Fault("pubsub: messages again", delivered_again),
)
