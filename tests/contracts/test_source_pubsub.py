"""Pull subscriptions of Pub/Sub, against `pstest`: acknowledged behind the commit, given again until then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from shroff.errors import SchemasAwayError, TransientError, UsageError
from shroff.events.formats.lines import Line
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.project.settings.system import System
from shroff.streams.log import Refused
from shroff.streams.merge import Merge
from shroff.testing.contracts.source import Outside, SourceContract
from shroff.testing.contracts.source_messages import UNREADABLE, lines, message, moment, numbers, read
from shroff_plugins.connectors import pubsub_pull as source_pubsub
from shroff_plugins.connectors.pubsub_pull import PubsubPullSource
from tests.support.gaps import gaps_end_soon
from tests.support.patience import PATIENCE_S
from tests.support.pubsubs import PubsubDesk
from tools.servers.pubsub import Pubsub

smoke = (
    "test_each_message_comes_once_with_its_bytes_and_a_place_of_its_own",
    "test_what_was_committed_does_not_come_again_and_the_rest_does_at_once",
    "test_what_is_given_is_acknowledged_behind_the_commit_alone",
    "test_without_credentials_the_cure_is_told",
)


class Subscriptions(Outside):
    """Two topics with a subscription each."""

    def __init__(self) -> None:
        self.desk = PubsubDesk()
        topics = [self.desk.topic(), self.desk.topic()]
        self.topics = {self.desk.subscription(topic): topic for topic in topics}
        self.parts = list(self.topics)
        self.letters = self.desk.topic()
        self.dead = self.desk.subscription(self.letters)

    def put(self, part: str, values: Sequence[bytes]) -> None:
        self.desk.publish(self.topics[part], values)

    def open(self, decoder: Decoder, merge: Merge, **options: str) -> PubsubPullSource:
        named = dict(zip(("payment", "refund"), self.parts, strict=True))
        settings = {"subscriptions": named, "dead_letters": self.letters, **options}
        return PubsubPullSource(System("pubsub_pull", settings), decoder, project="test", merge=merge)

    def remove_first(self, part: str, count: int) -> None:
        raise NotImplementedError("nobody else can take a message away")

    def dead_letters(self) -> list[Mapping[str, bytes]]:
        found = self.desk.waiting(self.dead, 0.5)
        told = [
            {name: value.encode() for name, value in item.attributes.items()} | {"raw": item.data} for item in found
        ]
        return sorted(told, key=lambda letter: letter["place"])

    def close(self) -> None:
        self.desk.close()


@pytest.fixture(autouse=True)
def emulator(pubsub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)


class TestPubsubPullSource(SourceContract):
    smoke = (
        "test_messages_of_a_part_come_once_and_in_their_order",
        "test_lines_have_the_bytes_that_were_sent_and_places_of_their_own",
        "test_to_start_again_gives_again_what_was_polled_since",
    )
    many = 60  # pstest hands out some hundred a second
    unsupported = {  # noqa: RUF012 - a ClassVar
        "counts what waits": "Pub/Sub tells no backlog but in Cloud Monitoring",
        "finds new parts": "subscriptions are named in the settings, one by one",
        "keeps the order of a part": "Pub/Sub keeps the order of an ordering key, not of a subscription",
        "knows a part that was recreated": "there are no positions by which to know it",
        "puts parts in order of time": "a subscription is not in order itself",
        "reads on from any offset": "what was acknowledged is gone; what was not comes again, to one of all who pull",
        "tells of messages that are gone": "nothing is gone but what was acknowledged, or too old",
    }

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        gaps_end_soon(monkeypatch)

    # One process gives again what it holds, in the order that it had; no other order is promised.
    test_the_order_is_the_same_where_reading_is_begun_again_before_what_was_sent_again = None

    def make_outside(self) -> Subscriptions:
        return Subscriptions()


@pytest.fixture
def outside() -> Iterator[Subscriptions]:
    made = Subscriptions()
    yield made
    made.close()


@pytest.fixture
def opened(outside: Subscriptions) -> Iterator[Callable[..., PubsubPullSource]]:
    made: list[PubsubPullSource] = []

    def open_(decoder: Decoder | None = None, **options: str) -> PubsubPullSource:
        made.append(outside.open(decoder or JsonDecoder(), Merge(lambda _: moment), **options))
        return made[-1]

    yield open_
    for item in made:
        item.close()


def offsets_of(found: Sequence[Any]) -> dict[str, str]:
    return {item.part: item.offset for item in found}


def told(source: PubsubPullSource) -> list[str]:
    """What its health says at last, while nothing comes."""
    until_s = time.monotonic() + PATIENCE_S
    while not (words := source.health().words) and time.monotonic() < until_s:
        assert source.poll(10, 0.1) == []
    return words


def test_each_message_comes_once_with_its_bytes_and_a_place_of_its_own(outside, opened):
    sent = set(UNREADABLE) | {message(n, text="é\n " * n) for n in range(40)}
    outside.put(outside.parts[0], list(sent))
    source = opened()
    source.start({})
    found = lines(read(source, len(sent)))

    assert {line.raw for line in found} == sent
    assert {line.raw for line in found if line.error} == set(UNREADABLE)
    assert len({line.place for line in found}) == len(sent)


def test_what_was_committed_does_not_come_again_and_the_rest_does_at_once(outside, opened):
    part = outside.parts[0]
    outside.put(part, [message(n) for n in range(30)])
    source = opened()
    source.start({})
    first = read(source, 12, limit=12, is_all=False)
    source.acknowledge(offsets_of(first))
    later = read(source, 18)  # decided, and the log was gone
    source.close()
    other = opened()
    other.start(offsets_of(first))

    assert sorted(numbers(read(other, 18), part)) == sorted(numbers(later, part))


def test_what_is_given_is_acknowledged_behind_the_commit_alone(outside, opened):
    """What a process that is killed leaves behind comes again, to whoever pulls, when its lease has run out."""
    part = outside.parts[0]
    outside.put(part, [message(n) for n in range(8)])
    source = opened()
    source.start({})
    found = read(source, 8)
    assert source.poll(10, 0.3) == []
    source.acknowledge(offsets_of(found))
    source.close()

    assert outside.desk.waiting(part) == []


def test_to_start_again_gives_again_what_was_not_committed_in_the_same_order(outside, opened):
    part = outside.parts[0]
    outside.put(part, [message(n) for n in range(40)])
    source = opened()
    source.start({})
    some, lost = read(source, 10, limit=10, is_all=False), read(source, 30)
    for _ in range(3):
        source.start(offsets_of(some))  # the commit of these got there, and nobody could say so
        assert numbers(read(source, 30), part) == numbers(lost, part)
    source.close()

    assert sorted(item.data for item in outside.desk.waiting(part)) == sorted(line.raw for line in lines(lost))


def test_an_offset_of_another_process_says_nothing_of_ours(outside, opened):
    part = outside.parts[0]
    outside.put(part, [message(n) for n in range(6)])
    source = opened()
    source.start({})
    found = read(source, 6)
    source.start({part: "4@another"})  # a standby led meanwhile, and decided four others
    again = read(source, 6)

    assert numbers(again, part) == numbers(found, part)
    assert again[-1].offset.startswith("10@")
    source.acknowledge({part: "9@another"})
    source.close()
    assert len(outside.desk.waiting(part)) == 6


def test_messages_of_an_ordering_key_come_in_their_order_each_behind_the_commit_of_the_one_before(outside, opened):
    topic = outside.desk.topic()
    part = outside.desk.subscription(topic, enable_message_ordering=True)
    for n in range(6):
        for key in ("a", "b"):
            outside.desk.publish(topic, [message(n, text=key)], key=key)
    source = opened(subscriptions={"payment": part})
    source.start({})
    came: dict[str, list[int]] = {"a": [], "b": []}
    until_s = time.monotonic() + PATIENCE_S
    while sum(map(len, came.values())) < 12 and time.monotonic() < until_s:
        found = source.poll(100, 0.5)
        keys = [line.columns["text"] for line in lines(found)]
        assert len(set(keys)) == len(keys)
        for line in lines(found):
            came[line.columns["text"]].append(line.columns["n"])
        source.acknowledge(offsets_of(found))

    assert came == {"a": list(range(6)), "b": list(range(6))}


def test_no_more_messages_are_here_than_the_settings_say(outside, opened):
    part = outside.parts[0]
    outside.put(part, [message(n) for n in range(40)])
    source = opened(messages="10")
    source.start({})
    found = read(source, 10, is_all=False)
    until_s = time.monotonic() + 1.0  # nothing comes
    while time.monotonic() < until_s:
        found += source.poll(100, 0.1)

    assert len(lines(found)) == 10
    source.acknowledge(offsets_of(found))
    assert len(lines(read(source, 10, is_all=False))) == 10


def test_a_deadline_is_extended_while_a_batch_waits(outside, opened):
    """The subscription's deadline is 10 s, and so is that of a lease; `pstest` sends again what runs out."""
    part = outside.parts[0]
    outside.put(part, [message(n) for n in range(3)])
    source = opened()
    source.start({})
    assert len(lines(read(source, 3))) == 3
    assert lines(source.poll(10, 14.0)) == []  # nothing comes
    source.close()
    assert len(outside.desk.waiting(part)) == 3


def test_a_message_whose_schema_is_away_waits_and_is_told(outside, opened):
    class Away(JsonDecoder):
        is_away = True

        def line(self, number: int, value: bytes) -> Line:
            if self.is_away:
                raise SchemasAwayError("the registry does not answer")
            return super().line(number, value)

    part, decoder = outside.parts[0], Away()
    outside.put(part, [message(n) for n in range(5)])
    source = opened(decoder)
    source.start({})

    assert told(source) == ["the registry does not answer"]
    assert source.health().lag
    decoder.is_away = False
    assert sorted(numbers(read(source, 5), part)) == list(range(5))


# ---- what cannot be


def test_what_is_not_there_is_told_at_the_start_and_by_a_look(outside, opened):
    wrong = opened(subscriptions={"payment": f"{outside.desk.project}/subscriptions/none"})
    for ask in (wrong.start, wrong.look):
        with pytest.raises(UsageError, match=r"subscriptions/none.*It does not exist: create it with gcloud"):
            ask({})
    pushed = outside.desk.subscription(outside.letters, push_config={"push_endpoint": "http://127.0.0.1:9/hooks"})
    with pytest.raises(UsageError, match=r"pushes its messages to http://127\.0\.0\.1:9/hooks"):
        opened(subscriptions={"payment": pushed}).start({})
    with pytest.raises(UsageError, match="has one type of events"):
        opened(labels=outside.parts[0])


def test_a_subscription_that_is_deleted_is_told_and_read_on_when_it_is_back(outside, opened, monkeypatch):
    monkeypatch.setattr(source_pubsub, "AGAIN_S", 0.2)
    part = outside.parts[0]
    source = opened()
    source.start({})
    assert source.poll(10, 0.3) == []
    outside.desk.subscriber.delete_subscription(subscription=part)
    source._parts[part].pulling.cancel()  # as Pub/Sub ends a stream; `pstest` leaves it open
    words = told(source)[0]
    assert part in words
    assert "does not exist" in words
    outside.desk.subscriber.create_subscription(name=part, topic=outside.topics[part])
    outside.put(part, [message(7)])

    assert numbers(read(source, 1), part) == [7]


def test_a_server_that_is_away_is_told_and_waited_for(outside, opened, monkeypatch):
    monkeypatch.setattr(source_pubsub, "PROBE_S", 0.2)
    with Pubsub() as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.address)
        desk = PubsubDesk()
        topic = desk.topic()
        part = desk.subscription(topic)
        source = opened(subscriptions={"payment": part})
        source.start({})
        desk.publish(topic, [message(1)])
        assert numbers(read(source, 1), part) == [1]
        server.children()[0].kill()
        assert "Pub/Sub does not answer" in told(source)[0]
        with pytest.raises(TransientError, match="does not answer"):
            opened(subscriptions={"payment": part}).start({})
        monkeypatch.setattr("shroff_plugins.connectors.pubsub_pull.CLOSE_S", 600.0)
        began_s = time.monotonic()
        source.close()
        assert time.monotonic() - began_s < PATIENCE_S, "who stops a worker waits for a server that is away"
        desk.close()


def test_without_credentials_the_cure_is_told(opened, monkeypatch, tmp_path):
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    secret = tmp_path / "account.json"
    secret.write_text('{"type": "service_account", "private_key": "not-to-be-seen"}', encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(secret))
    with pytest.raises(UsageError, match=r"no credentials of Google.*GOOGLE_APPLICATION_CREDENTIALS") as told:
        opened().start({})
    assert "not-to-be-seen" not in str(told.value)


def test_dead_letters_that_cannot_be_sent_come_later(outside, opened):
    source = opened(dead_letters=f"{outside.desk.project}/topics/none")
    with pytest.raises(TransientError, match="topics/none"):
        source.refuse([Refused("a", "1", "", "", b"", 0)])
    assert not opened(dead_letters="").takes_refused
