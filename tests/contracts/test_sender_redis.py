"""Sending into Redis Streams, against a real server: in order, each once, whatever breaks on the way."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis as library

from shroff.errors import TransientError, UsageError
from shroff.project.settings.system import System
from shroff.streams.sender import Sender, Target
from shroff.testing.contracts.sender import PASSWORD, SenderContract
from shroff_plugins.connectors import redis_sender as sender_redis
from shroff_plugins.connectors.redis_sender import RedisSender
from shroff_plugins.connectors.redis_server import RedisServer
from tests.support.patience import PATIENCE_S, until
from tools.servers.databases import Redis

NAMES = (f"test-sender-{os.getpid()}-{number}" for number in itertools.count())
pytestmark = pytest.mark.slow


@pytest.fixture
def client(redis: Any) -> Iterator[library.Redis]:
    with library.Redis.from_url(redis.address) as client:
        yield client


@pytest.fixture
def stream(client: library.Redis) -> Iterator[str]:
    name = next(NAMES)
    yield name
    client.delete(*(client.keys(f"{name}*") or [name]))


def opened(url: str, stream: str, **options: Any) -> RedisSender:
    settings = {"url": url, "streams": {"payment": stream, "any": f"{stream}-any"}} | options
    return RedisSender(System("redis", settings), project=stream)


def values(client: library.Redis, stream: str, field: bytes = b"event") -> list[bytes]:
    return [entry[field] for _, entry in client.xrange(stream)]


class TestRedisSender(SenderContract):
    @pytest.fixture
    def place(self, redis: Any, client: library.Redis, stream: str) -> str:
        self.address, self.client = redis.address, client
        return stream

    def make_sender(self, place: str, *, has_any: bool = True) -> Sender:
        return opened(self.address, place, **({} if has_any else {"streams": {"payment": place}}))

    def make_unreachable(self, place: str) -> Sender:
        return opened(f"redis://:{PASSWORD}@127.0.0.1:9/0", place)

    def arrived(self, target: str) -> list[bytes]:
        return values(self.client, target)


def test_messages_arrive_in_their_order_with_their_bytes(redis, client, stream):
    sent = [b"\xff%d" % number for number in range(3_000)]
    with closing(opened(redis.address, stream, field="data")) as sender:
        sender.prepare(["payment", "login"], None)
        for value in sent:
            sender.send("payment", b"k", value)
        sender.send("login", None, b"x")
        assert sender.flush(120) == 0
        assert (sender.sent, sender.failed, sender.waiting, sender.words) == (3_001, 0, 0, ())

    assert values(client, stream, b"data") == sent
    assert values(client, f"{stream}-any", b"data") == [b"x"]
    assert client.keys(f"shroff:{stream}:*") == []


def test_a_single_message_does_not_wait_for_others(redis, client, stream):
    with closing(opened(redis.address, stream)) as sender:
        sender.send("payment", None, b"1")
        until = time.monotonic() + 120
        while not values(client, stream):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_each_type_has_its_stream(redis, stream):
    with closing(opened(redis.address, stream)) as sender:
        assert sender.target("payment") == Target(stream, is_shared=False)
        assert sender.target("login") == Target(f"{stream}-any", is_shared=True)
        with pytest.raises(UsageError, match=r"no stream for label\. Name one under 'labels'"):
            sender.target("label")
    with closing(opened(redis.address, stream, streams={"payment": stream}, labels="verdicts")) as sender:
        assert sender.target("label") == Target("verdicts", is_shared=False)
        with pytest.raises(UsageError, match=r"no stream for login\. Name one under 'streams'"):
            sender.send("login", None, b"")


def test_what_is_no_stream_is_told_before_anything_is_sent(redis, client, stream):
    client.set(stream, "a text")
    with closing(opened(redis.address, stream)) as sender:
        with pytest.raises(UsageError, match=f"{stream} at .* is a string, and no stream"):
            sender.prepare(["payment"], 3)
        sender.send("payment", None, b"1")
        assert sender.flush(120) == 0
        assert sender.failed == 1
        assert "1 not taken: " in sender.words[0]


def test_a_batch_that_arrived_though_nobody_heard_of_it_is_not_there_twice(redis, client, stream, monkeypatch):
    heard = RedisServer.run_all
    lost: list[int] = []

    def deaf(self: RedisServer, script: str, calls: Any) -> Any:
        replies = heard(self, script, calls)
        if len(lost) < 3:
            lost.append(1)
            raise TransientError("the answer was lost")
        return replies

    monkeypatch.setattr(RedisServer, "run_all", deaf)
    monkeypatch.setattr(sender_redis, "AGAIN_S", 0.01)
    sent = [b"%d" % number for number in range(1_200)]
    with closing(opened(redis.address, stream)) as sender:
        for value in sent:
            sender.send("payment", None, value)
        assert sender.flush(120) == 0

    assert len(lost) == 3
    assert values(client, stream) == sent


def test_a_server_that_is_away_is_waited_for_and_so_is_room(stream, monkeypatch):
    monkeypatch.setattr(sender_redis, "WAITING_MAX", 10)
    with Redis() as server, closing(opened(server.address, stream)) as sender:
        server.children()[0].kill()
        sending = threading.Thread(target=lambda: [sender.send("payment", None, b"%d" % at) for at in range(40)])
        sending.start()
        until(lambda: sender.waiting)  # the thread has given it something
        assert sender.flush(1.0) > 0  # nobody takes anything
        until(lambda: sender.words)
        assert "does not answer" in sender.words[0]
        assert server.password not in sender.words[0]
        assert sending.is_alive()
        server.start()
        sending.join(120)
        assert sender.flush(120) == 0
        with library.Redis.from_url(server.address) as client:
            assert values(client, stream) == [b"%d" % at for at in range(40)]
        assert sender.words == ()


def test_a_server_that_has_no_room_or_is_a_replica_for_a_while_is_waited_for(stream, monkeypatch):
    monkeypatch.setattr(sender_redis, "AGAIN_S", 0.05)
    with Redis() as server, library.Redis.from_url(server.address) as client:
        for at, (bad, good) in enumerate(
            [
                (lambda: client.config_set("maxmemory", 1), lambda: client.config_set("maxmemory", 0)),
                (lambda: client.replicaof("127.0.0.1", 1), lambda: client.replicaof("NO", "ONE")),
            ]
        ):
            bad()
            with closing(opened(server.address, stream)) as sender:
                sender.send("payment", None, b"%d" % at)
                assert sender.flush(0.5) == 1  # nobody takes it
                until(lambda: sender.words)
                assert "cannot do this now" in sender.words[0]
                good()
                assert sender.flush(120) == 0
                assert sender.failed == 0
        assert values(client, stream) == [b"0", b"1"]


def test_a_sender_that_is_closed_sends_nothing_more(redis, stream):
    sender = opened(redis.address, stream)
    sender.close()
    sender.close()

    with pytest.raises(TransientError, match="the sender is closed"):
        sender.send("payment", None, b"1")


def test_closing_lets_go_of_what_cannot_be_sent(stream):
    with Redis() as server:
        sender = opened(server.address, stream)
        server.children()[0].kill()
        sender.send("payment", None, b"1")
        sender.flush(0.3)  # nobody takes it
        began = time.monotonic()
        sender.close()

        assert time.monotonic() - began < PATIENCE_S
