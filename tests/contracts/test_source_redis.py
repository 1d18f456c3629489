"""Redis Streams as a source, against a real server: read in order, gaps told exactly, one reader at a time."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as library

from shroff.errors import SchemasAwayError, StateError, TransientError, UsageError
from shroff.events.formats.lines import Line, line_and_row
from shroff.events.formats.wire import Decoder, JsonDecoder
from shroff.project.definitions import load_definitions
from shroff.project.settings.system import System
from shroff.streams.log import Refused
from shroff.streams.merge import Merge
from shroff.streams.source import Trimming, shown
from shroff.testing.contracts.source import Outside, SourceContract
from shroff_plugins.connectors import redis_source as source_redis
from shroff_plugins.connectors.redis_server import RedisServer
from shroff_plugins.connectors.redis_source import RedisSource
from tests.support.gaps import gaps_end_soon
from tests.support.patience import PATIENCE_S
from tests.support.projects import systems_of
from tools.servers.databases import Redis

NAMES = (f"test-{os.getpid()}-{number}" for number in itertools.count())
pytestmark = pytest.mark.slow
smoke = (
    "test_an_offset_is_an_id_with_its_count_and_is_taken_without_the_count_too",
    "test_an_entry_that_is_no_message_is_a_line_that_says_so_and_keeps_each_byte",
    "test_entries_that_were_trimmed_unread_are_told_with_their_number",
    "test_of_two_workers_one_reads_and_the_other_takes_over_when_it_goes",
    "test_a_server_that_goes_away_is_waited_for",
    "test_what_cannot_be_is_told_at_the_start_without_the_password",
    "test_what_is_refused_goes_to_the_stream_of_dead_letters",
)


class Streams(Outside):
    """Three streams of the run's server, with one for dead letters."""

    def __init__(self, address: str) -> None:
        self.address, self.client = address, library.Redis.from_url(address)
        self.parts = [next(NAMES) for _ in range(3)]
        self.letters = next(NAMES)

    def put(self, part: str, values: Sequence[bytes]) -> None:
        pipe = self.client.pipeline(transaction=False)
        for value in values:
            pipe.xadd(part, {"event": value})
        pipe.execute()

    def open(self, decoder: Decoder, merge: Merge) -> RedisSource:
        first, *others = self.parts
        types = {"payment": first} | {f"type_{at}": part for at, part in enumerate(others)}
        settings = {"url": self.address, "streams": types, "dead_letters": self.letters}
        return RedisSource(System("redis", settings), decoder, project=first, merge=merge)

    def remove_first(self, part: str, count: int) -> None:
        added = self.client.xinfo_stream(part)["entries-added"]
        self.client.xtrim(part, maxlen=added - count, approximate=False)

    def dead_letters(self) -> list[Mapping[str, bytes]]:
        found = [
            {name.decode(): value for name, value in fields.items()} for _, fields in self.client.xrange(self.letters)
        ]
        return [item | {"raw": item["event"]} for item in found]

    def close(self) -> None:
        self.client.delete(*self.parts, self.letters)
        self.client.close()


class TestRedisSource(SourceContract):
    smoke = (
        "test_messages_of_a_part_come_once_and_in_their_order",
        "test_lines_have_the_bytes_that_were_sent_and_places_of_their_own",
        "test_reading_goes_on_exactly_behind_any_offset",
        "test_to_start_again_gives_again_what_was_polled_since",
        "test_messages_that_are_gone_behind_an_offset_are_told_by_their_count",
        "test_bytes_that_nobody_can_read_are_lines_with_an_error_and_the_part_goes_on",
        "test_dead_letters_have_the_bytes_the_place_and_the_reason",
    )
    unsupported = {"finds new parts": "streams are named in the settings, one by one"}  # noqa: RUF012 - a ClassVar

    @pytest.fixture(autouse=True)
    def _server(self, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address = redis.address
        gaps_end_soon(monkeypatch)

    def make_outside(self) -> Streams:
        return Streams(self.address)

    def let_read(self, former: Any, latter: Any) -> None:
        """As if the lease of the one had run out, and it came to know of that."""
        former._server.ask("DEL", former._lease)
        former._leads_until_s = 0.0


@pytest.fixture
def client(redis: Any) -> Iterator[library.Redis]:
    with library.Redis.from_url(redis.address) as client:
        yield client


@pytest.fixture
def stream(client: library.Redis) -> Iterator[str]:
    name = next(NAMES)
    yield name
    client.delete(name)


@pytest.fixture
def opened(redis: Any, stream: str) -> Iterator[Any]:
    made: list[RedisSource] = []

    def open_(url: str = redis.address, decoder: Any = None, **options: Any) -> RedisSource:
        settings = {"url": url, "streams": {"payment": stream}} | options
        merge = Merge(lambda _: lambda _: None)
        made.append(RedisSource(System("redis", settings), decoder or JsonDecoder(), project=stream, merge=merge))
        return made[-1]

    yield open_
    for item in made:
        item.close()


def add(client: library.Redis, stream: str, *numbers: int) -> list[str]:
    """Messages with these numbers; gives their ids."""
    return [client.xadd(stream, {"event": json.dumps({"n": number})}).decode() for number in numbers]


def drained(source: RedisSource, limit: int = 1_000) -> tuple[list[Line], dict[str, str]]:
    """All lines that are there, and where the source is then."""
    lines: list[Line] = []
    offsets: dict[str, str] = {}
    while taken := source.poll(limit, 0):
        for item in taken:
            lines += item.lines
            offsets[item.part] = item.offset
    return lines, offsets


def numbers(lines: list[Line]) -> list[Any]:
    return [line.columns["n"] for line in lines if line.columns is not None]


# ---- reading


def test_each_stream_has_lines_of_its_type_and_labels_have_theirs(client, stream, opened):
    others = [f"{stream}-{letter}" for letter in "bc"]
    for name in (stream, *others):
        add(client, name, 1)
    source = opened(streams={"payment": stream, "any": others[0]}, labels=others[1])
    source.start({})
    taken = source.poll(100, 0)
    client.delete(*others)

    assert {(item.part, item.type, item.format) for item in taken} == {
        (stream, "payment", "jsonl"),
        (others[0], None, "jsonl"),
        (others[1], "label", "jsonl"),
    }


def test_an_offset_is_an_id_with_its_count_and_is_taken_without_the_count_too(client, stream, opened):
    ids = add(client, stream, *range(20))
    source = opened()
    source.start({})
    offset = source.poll(7, 0)[0].offset

    assert offset == f"{ids[6]}/7"
    for text in (offset, ids[6]):
        source.start({stream: text})
        assert numbers(drained(source)[0]) == list(range(7, 20))


def test_each_run_of_a_stream_among_others_has_the_offset_behind_it(redis, client, stream):
    for number in range(40):
        client.xadd(f"{stream}-{'ab'[number % 2]}", {"event": json.dumps({"n": number // 2, "at": number})})
    settings = {"url": redis.address, "streams": {"payment": f"{stream}-a", "login": f"{stream}-b"}}
    merge = Merge(lambda _: lambda line: line.columns["at"])
    with closing(RedisSource(System("redis", settings), JsonDecoder(), project=stream, merge=merge)) as source:
        source.start({})
        runs = [run for limit in (7, 100) for run in source.poll(limit, 0)]
        again = []
        for run in runs[:-1]:
            source.start({run.part: run.offset})
            again.append(
                [line.columns["n"] for item in drained_all(source) if item.part == run.part for line in item.lines]
            )
    client.delete(f"{stream}-a", f"{stream}-b")

    assert len(runs) > 5
    counts = [int(shown(run.offset).partition("/")[2]) for run in runs]
    assert counts == [run.lines[-1].columns["n"] + 1 for run in runs]
    assert again == [list(range(count, 20)) for count in counts[:-1]]


def drained_all(source: RedisSource) -> list[Any]:
    """All that is there, run by run."""
    return list(itertools.chain.from_iterable(iter(lambda: source.poll(1_000, 0), [])))


def test_a_line_stands_at_the_id_of_its_entry_however_it_is_read(client, stream, opened):
    ids = add(client, stream, 1, 2, 3)
    source = opened()
    source.start({})
    whole = drained(source)[0]
    client.xtrim(stream, minid=ids[1], approximate=False)
    source.start({})
    again = drained(source)[0]

    assert [line.place for line in whole] == ids
    assert [(line.place, line.number) for line in again] == [(line.place, line.number) for line in whole[1:]]
    assert [line_and_row(line.place) for line in whole] == [(line.place, line.number) for line in whole]


# ---- what is no message


def test_an_entry_that_is_no_message_is_a_line_that_says_so_and_keeps_each_byte(client, stream, opened):
    client.xadd(stream, {"wrong": b"\xff\x00"})
    client.execute_command("XADD", stream, "*", "event", '{"n":1}', "event", '{"n":2}', "x", "é")
    client.xadd(stream, {"event": b"\xff"})
    client.xadd(stream, {"event": ""})
    client.xadd(stream, {"event": '{"n":3}'})
    source = opened()
    source.start({})
    lines = drained(source)[0]

    assert [line.error for line in lines] == [
        "the entry has no field 'event', in which its message should be",
        "the entry has 3 fields, and its message should be in 'event' alone",
        "the line is not JSON: JSON is malformed: invalid character (byte 0)",
        "the message is empty",
        None,
    ]
    assert json.loads(lines[0].raw) == {"fields": [["wrong", {"base64": "/wA="}]]}
    assert json.loads(lines[1].raw) == {"fields": [["event", '{"n":1}'], ["event", '{"n":2}'], ["x", "é"]]}
    assert [line.raw for line in lines[2:]] == [b"\xff", b"", b'{"n":3}']


def test_the_field_of_messages_is_a_setting(client, stream, opened):
    client.xadd(stream, {"data": '{"n":1}'})
    source = opened(field="data")
    source.start({})

    assert numbers(drained(source)[0]) == [1]


class AwayAt(JsonDecoder):
    """A decoder whose schema for one message is away until it is asked a second time."""

    def __init__(self, away: bytes) -> None:
        self.away = away

    def line(self, number: int, value: bytes) -> Line:
        if value == self.away:
            self.away = b""
            raise SchemasAwayError("the registry does not answer")
        return super().line(number, value)


def test_a_message_whose_schema_is_away_is_one_error_and_counts_as_waiting(client, stream, opened):
    add(client, stream, *range(10))
    source = opened(decoder=AwayAt(b'{"n": 3}'))
    source.start({})
    first = source.poll(100, 0)

    assert numbers([line for item in first for line in item.lines]) == list(range(3))
    assert source.health().words == ("the registry does not answer",)
    assert (source.health().lag, source.health().errors) == (7, 1)
    lines, offsets = drained(source)
    assert numbers(lines) == list(range(3, 10))
    assert offsets[stream].endswith("/10")
    assert source.health().words == ()


# ---- entries that are gone


def read_some(source: RedisSource, stream: str, count: int) -> dict[str, str]:
    source.start({})
    return {stream: source.poll(count, 0)[0].offset}


@pytest.mark.parametrize("gone", [1, 3])
def test_entries_that_were_trimmed_unread_are_told_with_their_number(client, stream, opened, gone):
    ids = add(client, stream, *range(10))
    source = opened()
    offsets = read_some(source, stream, 4)
    client.xtrim(stream, minid=ids[4], approximate=False)  # exactly what was read
    source.start(offsets)
    client.xtrim(stream, minid=ids[4 + gone] if gone < 6 else "9999999999999", approximate=False)
    told = f"{gone} entr.*removed after {ids[3]} before shroff read them.*shroff ingest"

    with pytest.raises(StateError, match=told):
        source.poll(10, 0)
    with pytest.raises(StateError, match=told):
        source.start(offsets)


def test_a_stream_that_was_trimmed_to_nothing_has_lost_what_was_not_read(client, stream, opened):
    add(client, stream, *range(10))
    source = opened()
    offsets = read_some(source, stream, 4)
    client.xtrim(stream, maxlen=0, approximate=False)

    with pytest.raises(StateError, match="6 entries were removed"):
        source.start(offsets)
    source.start({})
    assert drained(source) == ([], {})


def test_entries_that_were_deleted_unread_are_told_once_the_rest_is_read(client, stream, opened):
    ids = add(client, stream, *range(10))
    source = opened()
    offsets = read_some(source, stream, 4)
    client.xdel(stream, ids[6], ids[8])

    source.start(offsets)
    with pytest.raises(StateError, match=f"2 entries were removed after {ids[3]}"):
        source.poll(100, 0)


def test_deleted_entries_are_counted_right_when_much_more_is_to_be_read(client, stream, opened):
    ids = add(client, stream, *range(700))
    source = opened()
    offsets = read_some(source, stream, 4)
    client.xdel(stream, *ids[10:15])
    source.start(offsets)

    with pytest.raises(StateError, match="5 entries were removed"):
        drained(source)


def test_what_is_trimmed_or_deleted_behind_us_is_nobodys_loss(client, stream, opened):
    ids = add(client, stream, *range(10))
    source = opened()
    offsets = read_some(source, stream, 4)
    client.xdel(stream, ids[1], ids[3])
    client.xtrim(stream, minid=ids[3], approximate=False)
    source.start(offsets)

    lines, offsets = drained(source)
    assert numbers(lines) == list(range(4, 10))
    client.xtrim(stream, maxlen=0, approximate=False)
    source.start(offsets)
    add(client, stream, 10)
    assert numbers(drained(source)[0]) == [10]


def test_a_stream_without_its_first_entries_is_read_from_where_it_begins(client, stream, opened):
    ids = add(client, stream, *range(10))
    client.xtrim(stream, minid=ids[6], approximate=False)
    client.xdel(stream, ids[8])
    source = opened()
    source.start({})
    lines, offsets = drained(source)

    assert numbers(lines) == [6, 7, 9]
    assert offsets == {stream: f"{ids[9]}/10"}


def test_an_emptied_server_is_told_and_so_is_one_that_went_back(client, stream, opened):
    ids = add(client, stream, *range(10))
    source = opened()
    source.start({})
    offsets = drained(source)[1]
    client.delete(stream)
    with pytest.raises(StateError, match=f"not the one that was read up to {ids[9]}: it no longer exists"):
        source.poll(10, 0)
    for number, id_ in enumerate(ids[:8]):  # as a replica that lacks the newest entries would have it
        client.xadd(stream, {"event": json.dumps({"n": number})}, id=id_)
    with pytest.raises(StateError, match=f"it ends at {ids[7]}"):
        source.start(offsets)
    later = f"{int(ids[9].partition('-')[0]) + 1}-0"
    client.xadd(stream, {"event": "{}"}, id=later)
    with pytest.raises(StateError, match="it never had that entry"):
        source.start(offsets)
    client.delete(stream)
    client.xadd(stream, {"event": "{}"}, id=later)
    with pytest.raises(StateError, match="10 entries of it were read, and 1 were ever added"):
        source.start(offsets)
    source.start({})
    assert len(drained(source)[0]) == 1


def test_a_stream_that_is_not_there_yet_is_waited_for(client, stream, opened):
    source = opened()
    source.start({})
    assert source.poll(10, 0) == []
    assert source.health().lag == 0
    add(client, stream, 1)
    assert numbers(drained(source)[0]) == [1]


# ---- trimming


def test_only_what_is_behind_a_snapshot_is_trimmed_and_only_where_the_settings_say_so(client, stream, opened):
    pipe = client.pipeline()
    for number in range(30_000):
        pipe.xadd(stream, {"event": f'{{"n":{number}}}'})
    pipe.execute()
    source = opened()
    source.start({})
    offset = {stream: [source.poll(500, 0) for _ in range(40)][-1][0].offset}
    assert isinstance(source, Trimming)
    source.trim(offset)
    assert client.xlen(stream) == 30_000
    source.close()

    trimming = opened(trim="true")
    trimming.start(offset)
    read = int(offset[stream].partition("/")[2])
    trimming.trim(offset)
    left = client.xlen(stream)
    assert 30_000 - read <= left < 30_000 - read + 1_000  # whole nodes of the tree alone
    assert numbers(drained(trimming)[0]) == list(range(read, 30_000))


# ---- one reader


def test_of_two_workers_one_reads_and_the_other_takes_over_when_it_goes(client, stream, opened, monkeypatch):
    now_s = [time.monotonic()]
    monkeypatch.setattr(source_redis, "LEASE_MS", 60_000)
    monkeypatch.setattr(source_redis, "time", SimpleNamespace(monotonic=lambda: now_s[0], sleep=time.sleep))
    add(client, stream, *range(4))
    first, second = opened(), opened()
    first.start({})
    assert numbers(first.poll(2, 0)[0].lines) == [0, 1]
    second.start({})
    assert second.poll(10, 0) == []
    assert f":{os.getpid()}" in second.health().words[0]
    assert second.health().words[0].startswith("another worker reads these streams: ")
    for _ in range(3):  # it holds for as long as it is used
        client.pexpire(first._lease, 30_000)
        now_s[0] += 30
        first.poll(1, 0)
        assert client.pttl(first._lease) > 30_000
        assert second.poll(10, 0) == []

    now_s[0] += 61  # the first is frozen
    client.pexpire(first._lease, 0)
    second.start({stream: "0-0"})
    assert numbers(second.poll(10, 0)[0].lines) == [0, 1, 2, 3]
    assert second.health().words == ()
    assert first.poll(10, 0) == []
    second.close()
    add(client, stream, 4)
    assert numbers(first.poll(10, 0)[0].lines) == [4]


def test_workers_of_other_projects_do_not_wait_for_us(client, redis, stream, opened):
    add(client, stream, 1)
    opened().start({})
    settings = System("redis", {"url": redis.address, "streams": {"payment": stream}})
    other = RedisSource(settings, JsonDecoder(), project="b", merge=Merge(lambda _: lambda _: None))
    other.start({})

    assert numbers(drained(other)[0]) == [1]
    other.close()
    other.close()


# ---- servers


def test_a_server_that_goes_away_is_waited_for(opened, stream, monkeypatch):
    monkeypatch.setattr("shroff_plugins.connectors.redis_server.ANSWER_S", 600.0)
    with Redis() as server, library.Redis.from_url(server.address) as client:
        add(client, stream, 1)
        source = opened(server.address)
        source.start({})
        assert numbers(drained(source)[0]) == [1]
        server.children()[0].kill()
        began = time.monotonic()
        assert source.poll(10, 0.5) == []
        assert time.monotonic() - began < PATIENCE_S, "what is gone is not waited for as what is silent"
        (words,) = source.health().words
        assert "does not answer" in words
        assert server.password not in words
        assert source.health().errors > 0
        with pytest.raises(TransientError, match="does not answer"):
            opened(server.address).start({})
        server.start()
        client.close()
        add(client, stream, 2)
        assert numbers(source.poll(10, 120)[0].lines) == [2]
        assert source.health().words == ()


def test_a_server_that_is_silent_counts_as_away(opened, stream, monkeypatch):
    monkeypatch.setattr("shroff_plugins.connectors.redis_server.ANSWER_S", 1.5)
    with Redis() as server:
        source = opened(server.address)
        source.start({})
        server.children()[0].pause()
        began = time.monotonic()
        assert source.poll(10, 0.1) == []
        assert time.monotonic() - began < PATIENCE_S  # else as long as it is paused
        assert "does not answer" in source.health().words[0]
        server.children()[0].resume()
        with library.Redis.from_url(server.address) as client:
            add(client, stream, 1)
        assert numbers(source.poll(10, 120)[0].lines) == [1]


def test_what_cannot_be_is_told_at_the_start_without_the_password(redis, client, stream, opened):
    wrong = redis.address.replace(redis.address.split("@")[0].rpartition(":")[2], "guessed-word")
    with pytest.raises(UsageError, match="rejects the sign-in") as told:
        opened(wrong).start({})
    assert "guessed-word" not in str(told.value)
    client.set(stream, "a text")
    with pytest.raises(UsageError, match="WRONGTYPE"):
        opened().start({})
    for url in ("http://u:guessed-word@localhost", "redis://u:guessed-word@[::1/0", "redis://u:guessed-word@h/0?x=[1"):
        with pytest.raises(UsageError, match="source: ") as told:
            opened(url)
        assert "guessed-word" not in str(told.value)
    assert "guessed-word" not in repr(opened("redis://u:guessed-word@localhost/0"))
    assert repr(RedisServer("redis://u:guessed-word@localhost/0", "it")) == "<Redis at redis://localhost/0>"


def test_an_address_without_the_password_is_told_with_the_setting_whatever_is_asked_first(redis, stream):
    #  Redis closes the connection of a client that has not signed in at its first large request.
    bare = re.sub("//.*@", "//", redis.address)
    server, large = RedisServer(bare, "source"), ("SET", stream, b"x" * 200_000)
    told = r"asks for a password, and this address has none\. Write ':\$\{REDIS_PASSWORD\}@' before its host"
    asks = (lambda: server.ask(*large), lambda: server.ask_all([large] * 9), lambda: server.run_all("x", [(0,)]))
    for ask in asks:
        with pytest.raises(UsageError, match=told):
            ask()


def test_a_user_that_may_do_only_what_shroff_needs_signs_in(redis, client, stream):
    client.execute_command("ACL", "SETUSER", "few", "on", ">word", "~*", "+type", "-ping")
    server = RedisServer(re.sub("//.*@", "//few:word@", redis.address), "source")

    assert server.ask("TYPE", stream) == b"none"
    client.execute_command("ACL", "DELUSER", "few")


def test_a_cluster_is_refused(opened):
    class Cluster(Redis):
        def _made(self) -> Any:
            child = super()._made()
            child.command = [*child.command, "--cluster-enabled", "yes", "--cluster-port", str(self.port())]
            return child

    with Cluster() as server, pytest.raises(UsageError, match="is a Redis Cluster, and shroff needs a single server"):
        opened(server.address).start({})


def test_a_stream_has_one_type(opened, stream):
    for settings in ({"labels": stream}, {"streams": {"payment": stream, "any": stream}}, {"dead_letters": stream}):
        with pytest.raises(UsageError, match="source: "):
            opened(**settings)


def test_an_address_gives_what_the_settings_written_out_give():
    base = "shroff: 1\nname: bank\nmoney: EUR\nsource: "

    written = "{ redis: { url: 'rediss://:${PASSWORD}@h:1/2', streams: { any: payments }, trim: true } }"
    source = systems_of(base + "rediss://:${PASSWORD}@h:1/2/payments?trim=true").source
    assert (source.kind, source.options) == ("redis", systems_of(base + written).source.options)
    assert systems_of(base + "redis://h/payments").source.text("url") == "redis://h/0"
    for wrong in (
        "redis://h/0/payments?trym=true",
        "redis://h/0/payments?trim=yes",
        "redis://h/0/pay ments",
        "redis://h",
    ):
        assert load_definitions({"shroff.yaml": base + wrong}).problems


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server with a certificate of its own making, and that certificate."""
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    asked = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {made} -days 2 -subj /CN=localhost"
    subprocess.run([*asked.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)

    class Secured(Redis):
        def _made(self) -> Any:
            child = super()._made()
            child.command = [*child.command, "--port", "0", "--tls-port", str(self._port), "--tls-auth-clients", "no"]
            child.command += ["--tls-cert-file", str(made), "--tls-key-file", str(key)]
            return child

    with Secured() as server:
        where = urlsplit(server.address)
        yield f"rediss://:{where.password}@{{host}}:{where.port}/0", made


def test_certificates_are_verified_unless_somebody_says_otherwise(secured, opened):
    url, certificate = secured
    for distrusted in (url.format(host="localhost"), f"{url.format(host='127.0.0.1')}?ssl_ca_certs={certificate}"):
        with pytest.raises(TransientError, match=r"(?i)certificate"):
            opened(distrusted).start({})
    opened(f"{url.format(host='localhost')}?ssl_ca_certs={certificate}").start({})
    opened(f"{url.format(host='localhost')}?ssl_cert_reqs=none").start({})


# ---- dead letters


def test_what_is_refused_goes_to_the_stream_of_dead_letters(client, stream, opened):
    source, dead = opened(dead_letters=f"{stream}-dead"), f"{stream}-dead"
    assert source.takes_refused
    assert not opened().takes_refused
    source.refuse(
        [Refused(stream, f"17-{at}", "payment", "no amount", b"\xff{}", 1_700_000_000_000) for at in range(700)]
    )
    entries = client.xrange(dead)
    client.delete(dead)

    assert len(entries) == 700
    assert entries[1][1] == {
        b"source": stream.encode(),
        b"place": b"17-1",
        b"type": b"payment",
        b"reason": b"no amount",
        b"at": b"2023-11-14T22:13:20Z",
        b"event": b"\xff{}",
    }
    client.set(dead, "a text")
    with pytest.raises(TransientError, match="WRONGTYPE"):
        source.refuse([Refused(stream, "1", "", "", b"", 0)])
    client.delete(dead)
