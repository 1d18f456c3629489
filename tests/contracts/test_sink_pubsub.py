"""The sink of Pub/Sub against `pstest`: each row at least once, with what a reader knows it by."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from shroff.errors import UsageError
from shroff.runtime.values import replace
from shroff.streams import delivering_rows
from shroff.streams.log import Record
from shroff.streams.sink import Outgoing, PreparedSink, Sink
from shroff.testing.contracts.sink import SinkContract, row
from shroff_plugins.connectors.pubsub_sink import PubsubSink
from tests.contracts.test_sinks import nowhere
from tests.support.log_memory import MemoryLog
from tests.support.log_rows import payments
from tests.support.pubsubs import PubsubDesk


@pytest.fixture(autouse=True)
def emulator(pubsub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)


@pytest.fixture
def desk() -> Iterator[PubsubDesk]:
    made = PubsubDesk()
    yield made
    made.close()


class TestPubsubSink(SinkContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "one for each key": "a topic keeps all that was published; the attribute `key` says what came twice",
        "takes marks": "Pub/Sub keeps nothing in one transaction with messages",
    }

    @pytest.fixture(autouse=True)
    def outside(self, desk: PubsubDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk, self.patch, self.subscription = desk, monkeypatch, ""

    @pytest.fixture
    def place(self) -> str:
        return self.desk.topic()

    def made(self, place: str) -> PubsubSink:
        if not self.subscription:
            self.subscription = self.desk.subscription(place)
        return PubsubSink("decisions", {"topic": place})

    def arrived(self, place: str) -> list[bytes]:
        if not self.subscription:
            return []
        found = sorted(self.desk.waiting(self.subscription), key=lambda message: int(message.attributes["seq"]))
        assert all(item.attributes["key"] == f"{item.attributes['seq']}-0" for item in found)
        return [item.data for item in found]

    def poison(self, seq: int) -> Outgoing:
        return replace(row(seq), body=random.Random(seq).randbytes(9_950_000))

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        with self.patch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{nowhere()}")
            yield self.made(place)


def test_rows_of_one_ordering_key_arrive_in_the_order_of_the_log(desk):
    topic = desk.topic()
    subscription = desk.subscription(topic, enable_message_ordering=True)
    sink = PubsubSink("s", {"topic": topic, "ordering_key": "channel"})
    assert sink.send([row(seq) for seq in range(1, 41)]) == []
    sink.close()
    found = desk.waiting(subscription, 0.2)

    by_key = {
        key: [int(item.attributes["seq"]) for item in found if item.ordering_key == key] for key in ("web", "shop")
    }
    assert by_key == {"web": list(range(1, 41, 2)), "shop": list(range(2, 41, 2))}


def test_what_pubsub_refuses_is_found_among_many_and_the_rest_arrives(desk, monkeypatch):
    """`pstest` refuses nothing, so the call does, as Pub/Sub refuses a message against the schema of its topic."""
    from google.api_core.exceptions import InvalidArgument
    from google.pubsub_v1 import PublisherClient

    topic = desk.topic()
    subscription, publish = desk.subscription(topic), PublisherClient.publish

    def strict(client: Any, *, topic: str, messages: Sequence[Any], **more: Any) -> Any:
        if any(b"p-7" in message.data for message in messages):
            raise InvalidArgument("the message does not match the schema")
        return publish(client, topic=topic, messages=messages, **more)

    monkeypatch.setattr(PublisherClient, "publish", strict)
    (refused,) = PubsubSink("s", {"topic": topic}).send([row(seq) for seq in range(1, 20)])

    assert (refused.row.seq, refused.may_pass, "does not match the schema" in refused.reason) == (7, False, True)
    assert len(desk.waiting(subscription)) == 18


def test_events_leave_as_the_log_has_them_labels_do_not(desk):
    log, batch = MemoryLog(), payments(1, 3)
    batch.records.append(Record(4, "label", "label", "l-1", 1_700_000_000_004, b"{}", decided=False))
    log.append(batch)
    rows = delivering_rows.events(log, 0, log.last_seq())
    records = [item for part in log.read() for item in part]
    topic = desk.topic()
    subscription = desk.subscription(topic)
    assert PubsubSink("s", {"topic": topic, "take": "events"}).send(rows) == []
    found = sorted(desk.waiting(subscription), key=lambda message: int(message.attributes["seq"]))

    events = [record for record in records if record.kind == "event"]
    assert 0 < len(events) < len(records)
    assert [item.data for item in found] == [event.body for event in events]
    assert [item.attributes["id"] for item in found] == [event.id for event in events]
    assert {(item.attributes["kind"], "outcome" in item.attributes) for item in found} == {("event", False)}


def test_an_ordering_key_that_is_too_long_is_refused_and_a_long_id_is_in_the_data_alone(desk):
    topic = desk.topic()
    subscription = desk.subscription(topic)
    long = replace(row(1), fields=b'{"channel":"%s"}' % (b"x" * 1_025))
    odd = row(2, "é" * 600)
    (refused,) = PubsubSink("s", {"topic": topic, "ordering_key": "channel"}).send([long, odd])

    assert "channel is longer than 1,024 bytes" in refused.reason
    (found,) = desk.waiting(subscription)
    assert (found.data, dict(found.attributes)) == (
        odd.body,
        {"key": "2-0", "seq": "2", "kind": "decision", "event": "payment", "outcome": "review"},
    )


def test_a_topic_that_is_not_there_is_told_before_and_while_rows_leave(desk):
    sink = PubsubSink("s", {"topic": f"{desk.project}/topics/none"})
    assert isinstance(sink, PreparedSink)
    for ask in (lambda: sink.prepare(None), lambda: sink.send([row(1)])):
        with pytest.raises(UsageError, match=r"topics/none.*create it with gcloud"):
            ask()
    assert PubsubSink("s", {"topic": desk.topic()}).prepare(None) == []


@pytest.mark.parametrize("options", [{"take": "flags", "ordering_key": "outcome"}, {"take": "events", "outcomes": []}])
def test_settings_that_contradict_each_other_are_refused(options):
    with pytest.raises(UsageError, match="have no outcome"):
        PubsubSink("s", {"topic": "projects/p/topics/t", **options})
