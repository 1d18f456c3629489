"""Features for other services in a real Redis: the newest row of each key, as its last decision shows it."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import redis as library
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shroff.errors import StateError, TransientError, UsageError
from shroff.features.naive import Naive
from shroff.language.types import Type
from shroff.language.values import key_text
from shroff.log.history import Records
from shroff.log.writer import Writer
from shroff.project.definitions import load_definitions
from shroff.replay.compare import segments
from shroff.services import project as app
from shroff.streams.delivering_rows import decisions, with_fields
from shroff.streams.log import Log
from shroff.testing.contracts.online import OnlineContract, row
from shroff.worker.online_features import OnlineSink, origin_of, read_features, typed
from shroff_plugins.connectors import redis_features as features_redis
from shroff_plugins.connectors.redis_features import RedisFeatures
from tests.laws.projects import history_of, project, versions
from tests.laws.test_engines import NOW_MS, QUICK, in_disorder, submission
from tests.support import projects as small
from tests.support.log_memory import MemoryLog, MemoryStore
from tests.support.projects import systems_of
from tools.servers.databases import Redis

NAMES = (f"test-{os.getpid()}-{number}" for number in itertools.count())
pytestmark = pytest.mark.slow
smoke = (
    "test_of_each_key_there_is_what_its_last_decision_shows_whoever_wrote_it",
    "test_a_project_gives_the_features_of_a_key_typed_and_as_the_decision_shows_them",
    "test_a_server_that_is_away_is_told_and_what_was_not_written_comes_again",
    "test_a_reader_needs_no_engine",
)


@pytest.fixture
def client(redis: Any) -> Iterator[library.Redis]:
    with library.Redis.from_url(redis.address) as client:
        yield client


@pytest.fixture
def place(client: library.Redis) -> Iterator[str]:
    name = next(NAMES)
    yield name
    forget(client, f"{name}*")


def forget(client: library.Redis, pattern: str) -> None:
    if keys := client.keys(pattern):
        client.delete(*keys)


class TestRedisFeatures(OnlineContract):
    smoke = (
        "test_what_was_written_is_read_key_by_key",
        "test_an_older_row_changes_nothing_and_neither_does_the_same_again",
        "test_of_writers_at_once_the_newest_row_of_each_key_stays",
        "test_a_mark_changes_only_from_the_one_that_a_writer_knows",
    )

    @pytest.fixture(autouse=True)
    def _server(self, redis: Any) -> None:
        self.address = redis.address

    @pytest.fixture
    def place(self, client: library.Redis) -> Iterator[str]:
        name = next(NAMES)
        yield name
        forget(client, f"{name}*")

    def make_store(self, place: str, log: str = "log-1") -> RedisFeatures:
        return RedisFeatures(self.address, prefix=place, log=log)


# Scripts that break a promise, each with the test that rejects it.
BROKEN = {
    "test_an_older_row_changes_nothing_and_neither_does_the_same_again": ("there[1] ~= log or", "true or"),
    "test_of_a_write_what_is_newer_counts_and_what_is_older_does_not": (
        "redis.call('HSET'",
        "return redis.call('HSET'",
    ),
    "test_features_that_a_new_version_does_not_have_are_gone": ("redis.call('DEL', key)", ""),
    "test_a_row_of_another_log_is_replaced_whatever_its_place": ("there[1] ~= log", "not there[1]"),
    "test_many_rows_are_no_different": ("packed[1][row[1]]", "packed[1][1]"),
    "test_values_and_names_are_kept_as_they_are": ("= row[5 + number]", "= string.lower(row[5 + number])"),
    "test_what_was_written_is_read_key_by_key": ("ipairs(KEYS)", "ipairs({KEYS[1], KEYS[2]})"),
    "test_of_writers_at_once_the_newest_row_of_each_key_stays": (
        "tonumber(there[2]) < tonumber(row[2])",
        "there[2] < row[2]",
    ),
}


@pytest.mark.parametrize("test, change", BROKEN.items(), ids=lambda value: value if isinstance(value, str) else "by")
def test_the_contract_rejects_a_store_that_breaks_a_promise(test, change, redis, client, place, monkeypatch):
    suite = TestRedisFeatures()
    suite.address = redis.address
    opened: list[RedisFeatures] = []

    def open_(log: str = "log-1", *, elsewhere: bool = False) -> RedisFeatures:
        opened.append(suite.make_store(f"{place}-b" if elsewhere else place, log))
        return opened[-1]

    getattr(suite, test)(open_)
    forget(client, f"{place}*")
    right = features_redis._WRITE
    monkeypatch.setattr(features_redis, "_WRITE", right.replace(*change))
    assert right != features_redis._WRITE
    with pytest.raises((AssertionError, UsageError)):
        getattr(suite, test)(open_)
    for item in opened:
        item.close()


def test_each_test_of_the_contract_has_a_store_that_it_rejects():
    tests = {name for name, _ in inspect.getmembers(OnlineContract, inspect.isfunction) if name.startswith("test_")}

    others = {"test_closing_twice_does_nothing", "test_a_reader_sees_rows_of_one_writer_each"}
    assert tests == {*BROKEN, *others, "test_a_mark_changes_only_from_the_one_that_a_writer_knows"}


def test_the_contract_rejects_a_store_whose_mark_anybody_changes(redis, place, monkeypatch):
    suite = TestRedisFeatures()
    suite.address = redis.address

    def open_(log: str = "log-1", *, elsewhere: bool = False) -> RedisFeatures:
        return suite.make_store(f"{place}-b" if elsewhere else place, log)

    monkeypatch.setattr(features_redis, "_SET_MARK", "redis.call('SET', KEYS[1], ARGV[1]) return 1")
    with pytest.raises(AssertionError):
        suite.test_a_mark_changes_only_from_the_one_that_a_writer_knows(open_)


def test_a_store_that_writes_in_two_steps_shows_rows_of_two_writers(redis, place, monkeypatch):
    class TwoSteps(RedisFeatures):
        def write(self, rows: Sequence[Any]) -> None:
            for item in rows:
                words = {"log": "x", "as_of_seq": item.as_of_seq, "as_of": item.as_of, "event": item.event}
                key = self._key(item.entity, item.key)
                self._server.ask("HSET", key, *itertools.chain(*words.items()), "definitions", item.definitions)
                time.sleep(0.0005)
                self._server.ask("HSET", key, *itertools.chain(*item.features.items()))

    suite = TestRedisFeatures()
    monkeypatch.setattr(suite, "make_store", lambda place, log: TwoSteps(redis.address, prefix=place), raising=False)

    with pytest.raises(AssertionError):
        suite.test_a_reader_sees_rows_of_one_writer_each(lambda: TwoSteps(redis.address, prefix=place))


# ---- what is kept is what was decided


def sent(log: Log, store: RedisFeatures, random: Random, after: int = 0) -> None:
    """Deliver what is behind a place in parts of any size, some of them twice."""
    last = log.last_seq()
    sink = OnlineSink(store, log)
    while after < last:
        upto = min(after + random.choice([1, 3, 10, 1_000]), last)
        for _ in range(random.choice([1, 1, 2])):
            sink.send(with_fields(log, decisions(log, after, upto)))
        after = upto if random.random() < 0.9 else max(upto - 5, 0)


def last_decided(log: Log) -> dict[tuple[str, str], tuple[int, dict[str, Any]]]:
    """By the definition: of each key the place of its last decided event, and what the decision shows of the entity."""
    documents = {row.seq: msgspec.json.decode(row.document) for rows in log.decisions.after() for row in rows}
    found: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}
    for segment in segments(log):
        version = segment.definitions
        records, truth = Records(version.events, 2), Naive(version.events, [], version.reference)
        for record in (item for some in log.read(segment.start, segment.end) for item in some if item.seq in documents):
            event = records.decode(record)
            for entity in version.events.entities:
                key = truth.key(entity, event)
                shown = documents[record.seq]["features"]
                mine = {name: value for name, value in shown.items() if name.startswith(f"{entity}.")}
                if key is not None and mine:
                    found[entity, key_text(key[0] if len(key) == 1 else key)] = record.seq - 1, mine
    return found


def test_a_decision_that_shows_nothing_of_a_key_hides_no_earlier_one_in_the_same_delivery():
    written: list[Any] = []
    store, memory = SimpleNamespace(write=written.extend), MemoryStore()
    for changes, submitted in (({}, small.payment(1)), ({"features.yaml": None}, small.payment(2, 1))):
        with closing(MemoryLog(memory)) as log:
            small.writer(log, changes).write([submitted])
    log = MemoryLog(memory, read_only=True)

    OnlineSink(store, log).send(with_fields(log, decisions(log, 0, log.last_seq())))
    assert [(item.entity, item.key, item.event) for item in written] == [("card", "c", "payment/p1")]


def test_a_feature_that_reads_a_field_of_one_type_is_missing_behind_an_event_of_another():
    written: list[Any] = []
    store, memory = SimpleNamespace(write=written.extend), MemoryStore()
    features = "card:\n  near: count(payment where payment.points > this.points) over 1h\n"
    with closing(MemoryLog(memory)) as log:
        Writer(log, project(features, "", 0), lambda: NOW_MS).write([submission(event) for event in history_of(0, 20)])
    log = MemoryLog(memory, read_only=True)

    OnlineSink(store, log).send(with_fields(log, decisions(log, 0, log.last_seq())))

    rows = {(row.entity, row.key): row for row in written}
    assert {at: row.as_of_seq for at, row in rows.items()} == {at: seq for at, (seq, _) in last_decided(log).items()}
    assert {row.event.partition("/")[0] for row in rows.values()} == {"payment", "refund"}


@settings(QUICK, suppress_health_check=[*QUICK.suppress_health_check, HealthCheck.function_scoped_fixture])
@given(
    some=st.lists(versions(), min_size=1, max_size=3),
    made=st.tuples(st.integers(0, 2**32), st.integers(20, 60)),
    data=st.data(),
)
def test_of_each_key_there_is_what_its_last_decision_shows_whoever_wrote_it(redis, client, some, made, data):
    random, name = Random(made[0]), next(NAMES)
    history = in_disorder(history_of(*made), random)
    cuts = sorted(random.randint(0, len(history)) for _ in some[1:])
    memory = MemoryStore()
    with closing(RedisFeatures(redis.address, prefix=name, log="one")) as store:
        for version, (start, end) in zip(some, pairwise([0, *cuts, len(history)]), strict=True):
            with closing(MemoryLog(memory)) as log:
                Writer(log, project(*version), lambda: NOW_MS).write(
                    [submission(event) for event in history[start:end]]
                )
                sent(log, store, random, after=random.choice([0, max(log.last_seq() - 20, 0)]))
        log = MemoryLog(memory, read_only=True)
        sent(log, RedisFeatures(redis.address, prefix=name, log="one"), random)
        truth = last_decided(log)
        definitions = project(*some[-1])
        for entity in definitions.events.entities:
            keys = [key for named, key in truth if named == entity]
            for key, found in zip(keys, read_features(store, definitions, entity, keys), strict=True):
                assert (found.as_of_seq, found.features) == truth[entity, key]
                declared = {
                    name
                    for name, value in found.features.items()
                    if name in definitions.features and not is_beyond(value, definitions.features[name].type)
                }
                assert found.values.keys() <= declared
                assert found.values.keys() == declared or found.definitions != definitions.versions.definitions
        kept = {tuple(key.decode().split(":", 2)[1:]) for key in client.keys(f"{name}:*")}
    forget(client, f"{name}:*")

    assert kept == truth.keys()


def is_beyond(value: Any, type_: Type) -> bool:
    """Whether Python's types hold no such duration or time."""
    if type_.kind == "duration":
        return isinstance(value, int | float) and abs(value) >= timedelta.max.total_seconds()
    return type_.kind == "time" and str(value).endswith(" ms")


@pytest.mark.parametrize("change", ["last", "key", "part"])
def test_the_law_catches_a_sink_that_is_wrong(change, redis, client, place, monkeypatch):
    from shroff.worker import online_features

    if change == "last":
        monkeypatch.setattr(
            online_features, "zip", lambda *both, strict: list(zip(*both, strict=strict))[::-1], raising=False
        )
    elif change == "key":
        monkeypatch.setattr(online_features, "key_text", lambda key: "x")
    else:
        monkeypatch.setattr(OnlineSink, "_part", lambda self, names, entity: list(names[:-1]))
    log = MemoryLog()
    made = project(
        "card:\n  n: count(payment) over 20ms\nmerchant:\n  n: count(payment) over 20ms\nregion:\n  n: count(payment)\n"
    )
    Writer(log, made, lambda: NOW_MS).write([submission(event) for event in history_of(3, 60)])
    store = RedisFeatures(redis.address, prefix=place, log="one")
    OnlineSink(store, log).send(with_fields(log, decisions(log, 0, log.last_seq())))
    truth = last_decided(log)

    assert truth != {
        (entity, key): (found.as_of_seq, found.features)
        for entity in made.events.entities
        for key, found in zip(
            keys_of(truth, entity), read_features(store, made, entity, keys_of(truth, entity)), strict=True
        )
        if found is not None
    }


def keys_of(truth: dict[tuple[str, str], Any], entity: str) -> list[str]:
    return [key for named, key in truth if named == entity]


# ---- a project


@pytest.fixture
def bank(tmp_path: Path, redis: Any, place: str) -> app.Project:
    opened, _ = app.make_project(tmp_path / "bank", "payments")
    settings_file = tmp_path / "bank" / "shroff.yaml"
    settings_file.write_text(
        f"{settings_file.read_text()}\nonline: {{ url: '{redis.address}', prefix: {place}, ttl: 30d }}\n",
        encoding="utf-8",
    )
    return app.open(opened.context.paths.folder)


def payment(number: int, card: str = "c-1", amount: str = "10.00") -> dict[str, Any]:
    at = datetime(2026, 3, 1, 10, tzinfo=UTC) + timedelta(minutes=number)
    told = {"payment_id": f"p-{number}", "paid_at": at.isoformat(), "card": card, "merchant": "m-1", "amount": amount}
    return told | {"country": "DE", "channel": "web"}


def test_a_project_gives_the_features_of_a_key_typed_and_as_the_decision_shows_them(bank, client, place):
    decided = bank.decide([payment(number) for number in range(6)], as_type="payment")
    card = bank.events("payment")["card"][0].as_py()
    assert bank.online.get("card", card) is None
    assert bank.online.write() == decided[-1].seq
    found = bank.online.get("card", card)

    assert found.features == {n: v for n, v in decided[-1].features.items() if n.startswith("card.")}
    assert (found.as_of_seq, found.event) == (decided[-1].as_of_seq, "payment/p-5")
    assert found.definitions == decided[-1].versions["definitions"]
    assert found.as_of == datetime(2026, 3, 1, 10, 5, tzinfo=UTC)
    assert (found.values["card.payments_10m"], found.values["card.spent_24h"]) == (6, Decimal("60.00"))
    with bank.online.open() as reader:
        assert reader.get_all("card", ["nobody", card]) == [None, found]
        with pytest.raises(UsageError, match=r"'crad' is not an entity of this project. Did you mean card\?"):
            reader.get("crad", card)
    (key,) = client.keys(f"{place}:card:*")
    assert key.decode() == f"{place}:card:{card}"
    assert client.hget(key, "card.spent_24h") == b'"60.00"'
    assert timedelta(days=29) < timedelta(milliseconds=client.pttl(key)) <= timedelta(days=30)


def test_only_the_entities_that_are_asked_for_are_written(bank, client, place):
    file = bank.context.paths.folder / "shroff.yaml"
    file.write_text(file.read_text().replace("ttl: 30d", "entities: [merchant]"), encoding="utf-8")
    bank = app.open(bank.context.paths.folder)
    bank.decide([payment(1)], as_type="payment")
    bank.online.write()
    (key,) = client.keys(f"{place}:*")

    assert key.decode() == f"{place}:merchant:m-1"
    assert client.pttl(key) == -1


def test_a_log_that_is_begun_anew_takes_the_place_of_the_former_one(bank):
    bank.decide([payment(number) for number in range(9)], as_type="payment")
    bank.online.write()
    bank.context.paths.log.unlink()
    time.sleep(0.002)  # a log is known by the millisecond in which it was made
    (decided,) = bank.decide([payment(20)], as_type="payment")
    bank.online.write()
    found = bank.online.get("merchant", "m-1")

    assert (found.event, found.as_of_seq) == ("payment/p-20", decided.as_of_seq)


def test_two_logs_have_different_origins_and_one_always_the_same():
    logs = []
    for now_ms in (NOW_MS, NOW_MS + 1):
        log = MemoryLog()
        Writer(log, project("", ""), lambda now_ms=now_ms: now_ms).write([])
        logs.append(log)
    own, other = logs
    first = origin_of(own)
    assert first != origin_of(other)
    assert len(first) == 16
    Writer(own, project("", ""), lambda: NOW_MS).write([submission(event) for event in history_of(1, 30)])

    assert origin_of(own) == first
    assert origin_of(MemoryLog()) == ""


def test_a_project_without_a_place_for_features_says_how_to_name_one(tmp_path):
    opened, _ = app.make_project(tmp_path / "bank", "payments")
    assert opened.online.route() is None

    with pytest.raises(UsageError, match="online: redis://localhost:6379/1"):
        opened.online.get("card", "c-1")


def test_where_features_are_is_an_address_or_a_mapping_with_one():
    files = {"shroff.yaml": "shroff: 1\nname: bank\nmoney: EUR\n"}

    def loaded(line: str) -> Any:
        return load_definitions({"shroff.yaml": files["shroff.yaml"] + line})

    for line in ("online: rediss://h/1\n", "online: { url: 'rediss://h/1' }\n"):
        found = systems_of(files["shroff.yaml"] + line).online
        assert (found.kind, found.text("url")) == ("redis", "rediss://h/1")
    assert systems_of(files["shroff.yaml"]).online is None
    assert loaded("").or_raise().versions == loaded("online: redis://h/1\n").or_raise().versions
    for line in ("online: kafka://h/1\n", "online: { url: 'http://h' }\n"):
        (problem,) = loaded(line).problems
        assert "online features are in redis:// or rediss://, not " in problem.message
    (warning,) = loaded("online: redis://:secret@h/1\n").warnings
    assert "this file contains a password" in warning.message


def test_the_route_of_a_project_writes_as_its_deliveries_come(bank):
    bank.decide([payment(number) for number in range(3)], as_type="payment")
    route = bank.online.route()
    with closing(route.opened()) as sink, bank.log.reading() as log:
        assert sink.wants_fields
        assert sink.send(with_fields(log, decisions(log, 0, log.last_seq()))) == []

    assert route.take == "decisions"
    assert bank.online.get("merchant", "m-1").event == "payment/p-2"


# ---- servers and what lies in them


def test_a_server_that_evicts_says_by_which_policy_and_how_many():
    with Redis() as server, library.Redis.from_url(server.address) as client:
        store = RedisFeatures(server.address, prefix="bank", log="one")
        assert store.eviction() == ("", 0)
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert store.eviction() == ("", 0), "without a limit nothing is removed"
        client.config_set("maxmemory", "3mb")
        for first in range(0, 10_000, 500):
            store.write([row(f"c-{number}", number) for number in range(first, first + 500)])
        policy, evicted = store.eviction()

        assert policy == "allkeys-lru"
        assert evicted > 0
        assert None in store.read("card", [f"c-{number}" for number in range(10_000)])
        store.close()


def test_a_server_that_is_away_is_told_and_what_was_not_written_comes_again():
    with Redis() as server:
        store = RedisFeatures(server.address, prefix="bank", log="one")
        store.write([row("c", 1)])
        server.children()[0].kill()
        for call in (lambda: store.write([row("c", 2)]), lambda: store.read("card", ["c"])):
            with pytest.raises(TransientError, match="does not answer") as told:
                call()
            assert server.password not in str(told.value)
        server.start()
        store.write([row("c", 2)])
        assert store.read("card", ["c"]) == [row("c", 2)]
        store.close()


def test_what_somebody_else_put_there_is_told(redis, client, place):
    store = RedisFeatures(redis.address, prefix=place, log="one")
    client.set(f"{place}:card:a", "a text")
    client.hset(f"{place}:card:b", mapping={"as_of_seq": "x"})
    for call in (lambda: store.write([row("a", 1)]), lambda: store.read("card", ["a"])):
        with pytest.raises(UsageError, match="WRONGTYPE"):
            call()
    with pytest.raises(StateError, match=f"{place}:card:b in Redis was not written by shroff"):
        store.read("card", ["b"])
    store.write([row("c", 1)._replace(features={"card.n": "no json"})])
    with pytest.raises(StateError, match="what other services read of card c is nothing that this project would write"):
        read_features(store, project("", ""), "card", ["c"])


def test_features_go_when_nothing_was_decided_for_so_long(redis, client, place):
    with closing(RedisFeatures(redis.address, prefix=place, log="one", ttl_ms=60_000)) as store:
        store.write([row("c", 1)])
        (key,) = client.keys(f"{place}*")
        assert 0 < client.pttl(key) <= 60_000
        client.pexpire(key, 20_000)
        store.write([row("c", 2)])
        assert client.pttl(key) > 20_000
        assert store.read("card", ["c"]) == [row("c", 2)]
        client.pexpire(key, 0)
        assert store.read("card", ["c"]) == [None]


@pytest.mark.parametrize(
    "shown, kind, value",
    [
        ("412.00", "money", Decimal("412.00")),
        ("0.5", "number", Decimal("0.5")),
        (9, "integer", 9),
        ("9007199254740993", "integer", 9007199254740993),
        (1, "real", 1.0),
        (True, "boolean", True),
        ("DE", "text", "DE"),
        ("2026-03-01T10:00:00.250Z", "time", datetime(2026, 3, 1, 10, 0, 0, 250_000, UTC)),
        (0.001, "duration", timedelta(milliseconds=1)),
        (None, "money", None),
    ],
)
def test_values_are_typed_as_python_has_them(shown, kind, value):
    found = typed(shown, Type(kind))

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "feature, shown",
    [("last_wait", "1000000000000001"), ("newest", '"9007199254740991 ms"'), ("newest", '"-70000000000000 ms"')],
)
def test_what_python_has_no_type_for_is_in_the_features_alone(feature, shown):
    given = row("c", 1)._replace(features={f"card.{feature}": shown, "card.n": "3"})
    definitions = project("card:\n  n: count(payment)\n  last_wait: max(payment.wait)\n  newest: max(payment.at)\n", "")
    store = SimpleNamespace(read=lambda entity, keys: [given])
    (found,) = read_features(store, definitions, "card", ["c"])

    assert found.features == {f"card.{feature}": json.loads(shown), "card.n": 3}
    assert found.values == {"card.n": 3}


def test_a_reader_needs_no_engine():
    """A service that only reads loads no kernel."""
    code = (
        "import sys, shroff.worker.online_features, shroff_plugins.connectors.redis_features\n"
        "print('numba' in sys.modules, 'xgboost' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["False", "False"]
