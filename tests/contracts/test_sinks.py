from __future__ import annotations

import atexit
import random
import socket
import sqlite3
import time
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from shroff.adapters.sinks import kafka as sink_kafka
from shroff.adapters.sinks.kafka import KafkaSink
from shroff.adapters.sinks.mongodb import MongoSink
from shroff.adapters.sinks.sql import SqlSink
from shroff.adapters.sinks.webhook import WebhookSink
from shroff.errors import UsageError
from shroff.runtime.values import replace
from shroff.streams import delivering_rows
from shroff.streams.sink import KeepingSink, MarkedSink, Outgoing, Sink
from shroff.testing.contracts.sink import PASSWORD, SinkContract, row, rows
from tests.contracts.receivers import Received, receiver
from tests.support.log_memory import MemoryLog
from tests.support.log_rows import everything, payments

NO_MARKS = {"takes marks": "a row that comes again takes its own place, which is once as well"}

PATIENCE_S = 120.0  # of a reader of topics


@pytest.fixture
def place() -> str:
    return f"decisions_{uuid.uuid4().hex[:12]}"


@cache
def nowhere() -> int:
    """A port at which nobody listens, and which nobody else gets while this process runs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    atexit.register(listener.close)
    return int(listener.getsockname()[1])


def moved(address: str, port: int) -> str:
    """The address with another port and the contract's password."""
    parts = urlsplit(address)
    return parts._replace(netloc=f"shroff:{PASSWORD}@127.0.0.1:{port}").geturl()


class TestKafkaSink(SinkContract):
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "one for each key": "a topic keeps all that was sent; with its mark in one transaction each row is sent once"
    }

    @pytest.fixture(autouse=True)
    def outside(self, kafka: Any) -> None:
        self.brokers = kafka.address

    def made(self, place: str) -> MarkedSink:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.brokers})
        (made,) = admin.create_topics([NewTopic(place, 1, -1, config={"max.message.bytes": "200000"})]).values()
        try:
            made.result()
        except KafkaException as error:
            assert error.args[0].name() == "TOPIC_ALREADY_EXISTS"  # noqa: PT017 - any other error is one
        return KafkaSink(place, {"brokers": self.brokers, "topic": place})

    def arrived(self, place: str) -> list[bytes]:
        return [message.value() for message in read_topic(self.brokers, place)]

    def poison(self, seq: int) -> Outgoing:
        length = 1_500_000 if seq % 2 else 400_000  # our client does not send the one, the topic not take the other
        return replace(row(seq), body=random.Random(seq).randbytes(length))

    def test_rows_that_only_together_are_too_large_arrive(self, place: str) -> None:
        sink = self.made(place)
        sent = [replace(row(seq), body=random.Random(seq).randbytes(60_000)) for seq in range(1, 11)]

        assert sink.send_marked(sent, "log 10") == []
        sink.close()
        assert self.arrived(place) == [outgoing.body for outgoing in sent]

    @pytest.mark.parametrize("lengths", [[90_000] * 5 + [1_000] * 5, [1_000] * 5 + [90_000] * 5])
    def test_rows_of_mixed_size_that_only_together_are_too_large_arrive(self, lengths: list[int], place: str) -> None:
        sink = self.made(place)
        sent = [replace(row(seq), body=random.Random(seq).randbytes(length)) for seq, length in enumerate(lengths, 1)]

        assert sink.send_marked(sent, "log 10") == []
        sink.close()
        assert self.arrived(place) == [outgoing.body for outgoing in sent]

    def test_a_row_refused_before_the_client_is_full_is_found(self, place: str) -> None:
        self.made(place).close()
        client = {"queue.buffering.max.messages": "10"}
        sink = KafkaSink(place, {"brokers": self.brokers, "topic": place, "client": client})
        sent = [*rows(1, 3), self.poison(4), *rows(5, 26)]

        assert [(refused.row.seq, refused.may_pass) for refused in sink.send(sent)] == [(4, False)]
        sink.close()
        assert len(self.arrived(place)) == len(sent) - 1

    def test_more_rows_than_the_client_keeps_at_once_arrive(self, place: str) -> None:
        self.made(place).close()
        client = {"queue.buffering.max.messages": "10"}
        sink = KafkaSink(place, {"brokers": self.brokers, "topic": place, "client": client})

        assert sink.send(rows(1, 50)) == []
        sink.close()
        assert len(self.arrived(place)) == 50

    def test_a_row_refused_while_others_are_still_handed_over_is_found(
        self, place: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def slow(_row: Outgoing) -> str:
            time.sleep(0.1)  # the topic refuses the first row meanwhile
            return place

        sink = self.made(place)
        assert sink.send([row(1)]) == []
        monkeypatch.setattr(sink, "_topic", slow)

        assert [refused.row.seq for refused in sink.send([self.poison(2), *rows(3, 3)])] == [2]
        sink.close()
        assert len(self.arrived(place)) == 4

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        client = {"sasl.password": PASSWORD, "socket.connection.setup.timeout.ms": "1000"}  # away
        sink = KafkaSink(place, {"brokers": f"127.0.0.1:{nowhere()}", "topic": place, "client": client})
        sink.begin_s = 2.0  # nobody answers
        yield sink


def read_topic(brokers: str, *topics: str) -> list[Any]:
    """What consumers of committed messages read of topics, each to its end.

    A consumer that hears nothing for a while is replaced: on a slow machine one was once silent for ever.
    """
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if (found := _read_topic(brokers, topics)) is not None:
            return found
    raise AssertionError(f"{topics} do not end within {PATIENCE_S} s")


def _read_topic(brokers: str, topics: Sequence[str]) -> list[Any] | None:
    """The same by one consumer; None where it hears nothing."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    settings = {"bootstrap.servers": brokers, "group.id": uuid.uuid4().hex, "isolation.level": "read_committed"}
    consumer = Consumer({**settings, "enable.partition.eof": True})
    with closing(consumer):
        parts = [
            TopicPartition(topic, part, 0)
            for topic in topics
            for part in consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        ]
        consumer.assign(parts)
        found, ended = [], set()
        while len(ended) < len(parts):
            message = consumer.poll(120)
            if message is None:
                return None
            if message.error() is None:
                found.append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add((message.topic(), message.partition()))
    return found


class KeepsRows(SinkContract):
    """What sinks share that can be asked for a row by its key."""

    @abstractmethod
    def drop(self, place: str) -> None:
        """Drop the table or collection by hand."""

    def test_it_names_the_rows_that_it_does_not_have(self, place: str) -> None:
        sink = self.made(place)
        sent, missing = [row(1, "a1"), *rows(2, 3)], [row(5), row(6, "A1")]
        assert sink.send(sent) == []

        assert isinstance(sink, KeepingSink)
        assert sink.missing([sent[3], missing[0], sent[0], missing[1]]) == missing
        assert sink.missing(sent) == sink.missing([]) == []
        sink.close()

    def test_what_was_dropped_is_missing_until_the_next_row(self, place: str) -> None:
        sink = self.made(place)
        assert sink.send(rows(1, 3)) == []
        assert not sink.is_missing()
        self.drop(place)

        assert sink.is_missing()
        assert sink.missing(rows(1, 3)) == rows(1, 3)
        sink.close()
        again = self.made(place)
        assert again.send(rows(1, 1)) == []
        assert (again.is_missing(), again.missing(rows(1, 2))) == (False, rows(2, 1))
        again.close()


class TestMongoSink(KeepsRows):
    unsupported = NO_MARKS

    @pytest.fixture(autouse=True)
    def outside(self, mongo: Any) -> None:
        self.address = mongo.address

    def made(self, place: str) -> MongoSink:
        with self._collection(place) as collection:
            collection.create_index("receipt", unique=True)
        return MongoSink(place, {"url": self.address, "database": "bank", "collection": place})

    def arrived(self, place: str) -> list[bytes]:
        with self._collection(place) as collection:
            documents = sorted(collection.find(), key=lambda document: document["seq"])
        for document in documents:
            assert document.pop("_id") == f"payment/{document['id']}"
            assert document.pop("kind") == "decision"
            assert msgspec.json.encode(document.pop("fields")) == row(document["seq"]).fields
        return [msgspec.json.encode(document) for document in documents]

    def poison(self, seq: int) -> Outgoing:
        taken = row(seq).body.replace(b"sha256:%d" % seq, b"sha256:1")  # which the unique index has
        return replace(row(seq), body=taken)

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        url = f"{moved(self.address, nowhere())}?serverSelectionTimeoutMS=500"
        yield MongoSink(place, {"url": url, "database": "bank", "collection": place})

    def drop(self, place: str) -> None:
        with self._collection(place) as collection:
            collection.drop()

    @contextmanager
    def _collection(self, place: str) -> Iterator[Any]:
        from pymongo import MongoClient

        with MongoClient(self.address) as client:
            yield client["bank"][place]


class SqlSinkContract(KeepsRows):
    """What the three databases share."""

    unsupported = NO_MARKS
    address: str

    def made(self, place: str) -> SqlSink:
        return SqlSink(place, {"url": self.address, "table": place})

    def drop(self, place: str) -> None:
        self.asked(f"DROP TABLE {place}")

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        yield SqlSink(place, {"url": moved(self.address, nowhere()), "table": place})

    def arrived(self, place: str) -> list[bytes]:
        with closing(self.made(place)) as sink:
            sink.send([])  # which makes the table
        columns = "event, id, seq, outcome, score, rules, receipt, document"
        found = []
        for event, id_, seq, outcome, score, rules, receipt, document in self.asked(
            f"SELECT {columns} FROM {place} ORDER BY seq"
        ):
            assert (event, outcome, score, receipt) == ("payment", "review", 0.5, f"sha256:{seq}")
            assert msgspec.json.decode(document)["id"] == id_
            assert msgspec.json.decode(rules) == ["café"]
            found.append(document.encode())
        return found

    def asked(self, sql: str) -> list[Any]:
        raise NotImplementedError


class TestSqlSinkOnPostgres(SqlSinkContract):
    @pytest.fixture(autouse=True)
    def outside(self, postgres: Any) -> None:
        self.address = postgres.address

    def poison(self, seq: int) -> Outgoing:
        return replace(row(seq), id=f"a\x00{seq}")

    def asked(self, sql: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.address) as connection:
            rows = connection.execute(sql.replace("rules", "rules::text").replace("document", "document::text"))
            return rows.fetchall() if rows.description else []


class TestSqlSinkOnMariaDB(SqlSinkContract):
    @pytest.fixture(autouse=True)
    def outside(self, mariadb: Any) -> None:
        self.address = mariadb.address

    def poison(self, seq: int) -> Outgoing:
        return replace(row(seq), id="x" * 601)

    def asked(self, sql: str) -> list[Any]:
        import pymysql

        parts = urlsplit(self.address)
        with pymysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:],
            charset="utf8mb4",
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []


class TestSqlSinkOnSqlite(SqlSinkContract):
    @pytest.fixture(autouse=True)
    def outside(self, tmp_path: Path) -> None:
        self.path = tmp_path / "decisions.db"
        self.address = f"sqlite:///{self.path}"

    def made(self, place: str) -> SqlSink:
        sink = super().made(place)
        sink.send([])
        self.asked(
            f"CREATE TRIGGER IF NOT EXISTS no_poison BEFORE INSERT ON {place} WHEN new.id = 'poison' "
            "BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        return sink

    def poison(self, seq: int) -> Outgoing:
        return replace(row(seq), id="poison")

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        hidden = self.path.with_suffix(".hidden")
        hidden.mkdir()
        yield SqlSink(place, {"url": f"sqlite:///{hidden}", "table": place})  # a folder is not a file

    def asked(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute(sql).fetchall()
            connection.commit()
            return found


class TestWebhookSink(SinkContract):
    many = 500
    unsupported = {  # noqa: RUF012 - a ClassVar of the contract
        "one for each key": "a call that comes again has the same webhook-id, and its receiver knows that",
        "takes marks": "a receiver keeps nothing for us",
    }

    @pytest.fixture(autouse=True)
    def outside(self) -> Iterator[None]:
        with receiver() as self.received:
            yield

    received: Received

    def made(self, place: str) -> WebhookSink:
        return WebhookSink(place, {"url": self.received.url, "secret": "a secret of tests"})

    def arrived(self, place: str) -> list[bytes]:
        return self.received.taken

    def poison(self, seq: int) -> Outgoing:
        return replace(row(seq), body=b'"poison"')

    @contextmanager
    def away(self, place: str) -> Iterator[Sink]:
        yield WebhookSink(place, {"url": f"http://127.0.0.1:{nowhere()}/{PASSWORD}", "secret": PASSWORD})


# ---- what each has of its own


def flag_row(seq: int) -> Outgoing:
    body = b'{"seq":%d,"rule":"large","entity":"card","key":"c1","event":"payment/p-%d","reason":"caf\xc3\xa9"}'
    return Outgoing(seq, 1, "flag", "payment", f"p-{seq}", "", body % (seq, seq), b'{"channel":"web"}')


class TestTopics:
    """Which topic a message of the Kafka sink goes to, and what it has."""

    @pytest.fixture
    def topics(self, kafka: Any, place: str) -> list[str]:
        from confluent_kafka.admin import AdminClient, NewTopic

        names = [f"fraud_{place}", f"other_{place}"]
        admin = AdminClient({"bootstrap.servers": kafka.address})
        for made in admin.create_topics([NewTopic(name, 2, -1) for name in names]).values():
            made.result()
        return names

    def test_the_outcome_chooses_the_topic(self, kafka, topics, place):
        fraud, other = topics
        routes = {"by": "outcome", "topics": {"decline": fraud, "review": fraud, "else": other}}
        rows = [replace(row(seq), outcome=outcome) for seq, outcome in enumerate(OUTCOMES, 1)]
        with closing(KafkaSink(place, {"brokers": kafka.address, **routes})) as sink:
            assert sink.send_marked(rows, "log 4") == []

        read = {name: sorted(item.value() for item in read_topic(kafka.address, name)) for name in topics}
        assert read == {
            fraud: sorted(item.body for item in rows if item.outcome in {"decline", "review"}),
            other: sorted(item.body for item in rows if item.outcome in {"approve", "challenge"}),
        }

    def test_a_field_of_the_event_chooses_the_topic_and_others_stay_without_else(self, kafka, topics, place):
        web, shop = topics
        sink = KafkaSink(place, {"brokers": kafka.address, "by": "channel", "topics": {"web": web}})
        with closing(sink):
            assert sink.wants_fields
            assert sink.send([row(1), row(2), row(3)]) == []

        assert sorted(item.value() for item in read_topic(kafka.address, web)) == [row(1).body, row(3).body]
        assert read_topic(kafka.address, shop) == []

    def test_a_message_has_the_events_id_as_its_key_and_says_which_row_it_is(self, kafka, topics, place):
        with closing(KafkaSink(place, {"brokers": kafka.address, "topic": topics[0]})) as sink:
            assert sink.send([flag_row(7)]) == []

        (message,) = read_topic(kafka.address, topics[0])
        assert (message.key(), message.value()) == (b"p-7", flag_row(7).body)
        assert dict(message.headers()) == {"key": b"7-1", "seq": b"7", "kind": b"flag"}

    def test_topics_are_looked_for_or_made_beside_a_process_that_delivers(self, kafka, topics, place):
        options = {"brokers": kafka.address, "by": "outcome", "topics": {"decline": f"made_{place}", "else": topics[0]}}
        with closing(KafkaSink(place, options)) as delivers, closing(KafkaSink(place, options)) as asks:
            delivers.mark()
            with pytest.raises(UsageError, match=f"no topic 'made_{place}'.*'shroff produce --create-topics' makes it"):
                asks.prepare(None)
            made = asks.prepare(2), asks.prepare(2), asks.prepare(None)
            rows = [replace(row(1), outcome="decline")]
            assert delivers.send_marked(rows, "log 1") == []

        assert made == ([f"made_{place}"], [], [])
        assert [item.value() for item in read_topic(kafka.address, f"made_{place}")] == [rows[0].body]

    def test_a_topic_that_is_not_there_is_told_by_its_name(self, kafka, topics, place, monkeypatch):
        monkeypatch.setitem(sink_kafka._CLIENT, "topic__metadata__propagation__max__ms", "500")
        routes = {"by": "outcome", "topics": {"decline": f"no_{place}", "else": topics[0]}}
        with closing(KafkaSink(place, {"brokers": kafka.address, **routes})) as sink:
            sink.mark()
            with pytest.raises(UsageError, match=f"there is no topic no_{place}. Make the topics"):
                sink.send([replace(row(seq), outcome=outcome) for seq, outcome in enumerate(OUTCOMES, 1)])

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"topic": "a", "by": "outcome", "topics": {"else": "b"}},
            {"topic": "a", "by": "outcome"},
            {"topics": {"else": "b"}},
            {"by": "outcome", "topics": {"else": "b"}, "take": "flags"},
            {"topic": "a", "client": {"acks": "0"}},
            {"topic": "a", "client": {"transactional.id": "mine"}},
            {"topic": "a", "client": {"no.such.setting": "1"}},
        ],
    )
    def test_settings_that_contradict_each_other_are_refused(self, options):
        with pytest.raises(UsageError):
            KafkaSink("sink", {"brokers": "localhost:9092", **options})


OUTCOMES = ("approve", "challenge", "review", "decline")


@pytest.mark.parametrize("kind", ["postgres", "mariadb", "sqlite"])
def test_flags_are_rows_of_a_table_of_their_own(kind, request, tmp_path, place):
    url = f"sqlite:///{tmp_path}/flags.db" if kind == "sqlite" else request.getfixturevalue(kind).address
    suite = {"postgres": TestSqlSinkOnPostgres, "mariadb": TestSqlSinkOnMariaDB, "sqlite": TestSqlSinkOnSqlite}[kind]()
    suite.address, suite.path = url, tmp_path / "flags.db"
    second = replace(flag_row(7), number=2)
    with closing(SqlSink("flags", {"url": url, "table": place, "take": "flags"})) as sink:
        assert sink.send([flag_row(7), second]) == []
        assert sink.send([second]) == []

    columns = "seq, number, event, id, rule, entity, entity_key, reason"
    read = [tuple(item) for item in suite.asked(f"SELECT {columns} FROM {place} ORDER BY number")]
    assert read == [(7, number, "payment", "p-7", "large", "card", "c1", "café") for number in (1, 2)]


def test_a_decision_that_was_not_scored_has_no_score_in_the_table(tmp_path):
    plain = replace(row(1), body=b'{"score":null,"receipt":"sha256:1"}')
    with closing(SqlSink("s", {"url": f"sqlite:///{tmp_path}/d.db", "table": "d"})) as sink:
        assert sink.send([plain]) == []

    with closing(sqlite3.connect(tmp_path / "d.db")) as connection:
        assert connection.execute("SELECT score, rules FROM d").fetchall() == [(None, "[]")]


@pytest.mark.parametrize("kind", ["postgres", "mariadb", "sqlite"])
def test_a_table_has_the_columns_that_were_chosen(kind, request, tmp_path, place):
    url = f"sqlite:///{tmp_path}/more.db" if kind == "sqlite" else request.getfixturevalue(kind).address
    suite = {"postgres": TestSqlSinkOnPostgres, "mariadb": TestSqlSinkOnMariaDB, "sqlite": TestSqlSinkOnSqlite}[kind]()
    suite.address, suite.path = url, tmp_path / "more.db"
    columns = {"happened": "event_time", "taken": "ingest_time", "amount": "fields.amount", "all_of_it": "fields"}
    columns |= {"mean": "features.card.mean_30d", "gone": "features.card.gone", "computed": "features"}
    body = b'{"receipt":"sha256:1","score":null,"features":{"card.mean_30d":4.5}}'
    whole = replace(row(1), body=body, fields=b'{"amount":"12.00"}', time_ms=1_772_409_599_970, at_ms=9)
    bare = replace(row(2), body=body, fields=b"")
    with closing(SqlSink("s", {"url": url, "table": place, "columns": columns})) as sink:
        assert sink.wants_fields
        assert sink.send([whole, bare]) == []

    asked = "happened, taken, amount, all_of_it, mean, gone, computed"
    first, second = (tuple(item) for item in suite.asked(f"SELECT {asked} FROM {place} ORDER BY seq"))
    moments = [str(item.astimezone(UTC) if getattr(item, "tzinfo", None) else item) for item in first[:2]]
    assert moments[0].startswith("2026-03-01 23:59:59.97")
    assert moments[1].startswith("1970-01-01 00:00:00.009")
    assert [str(item).replace("'", '"').replace(": ", ":") for item in first[2:]] == [
        *("12.00", '{"amount":"12.00"}', "4.5", "None", '{"card.mean_30d":4.5}')
    ]
    assert second[:3] == (None, None, None)


def test_a_column_cannot_have_a_name_that_is_taken():
    with pytest.raises(UsageError, match="names that are already used: event, id, seq"):
        SqlSink("s", {"url": "sqlite:///d.db", "table": "d", "columns": {"seq": "fields"}})


def test_rows_carry_their_events_fields_and_both_times_where_a_sink_asks():
    log = MemoryLog()
    for first, at_ms in ((1, 1_000), (3, None)):
        batch = everything(first) if first == 1 else payments(4, 2)
        batch.at_ms = at_ms
        log.append(batch)
    of_all = delivering_rows.with_fields(log, delivering_rows.decisions(log, 0, 9))

    assert [(item.seq, item.at_ms) for item in of_all] == [(1, 1_000), (2, 1_000), (3, 1_000), (4, None), (5, None)]
    assert [(item.fields, item.time_ms) for item in of_all] == [
        (item.body, item.time_ms) for part in log.read() for item in part
    ]
    assert {flag.at_ms for flag in delivering_rows.with_fields(log, delivering_rows.flags(log, 0, 9))} == {1_000}
    assert {decision.at_ms for decision in delivering_rows.decisions(log, 0, 9)} == {None}


@pytest.mark.parametrize(
    "options",
    [
        {"url": "oracle://a/b", "table": "d"},
        {"url": "sqlite:///", "table": "d"},
        {"url": "sqlite:///d.db", "table": "d; DROP TABLE d"},
        {"url": "postgresql://shroff:hunter2@localhost/a?sslmode=perhaps", "table": "d"},
        {"url": "mariadb://shroff:hunter2@localhost:port/a", "table": "d"},
    ],
)
def test_what_is_no_table_of_a_database_is_refused_and_shows_no_password(options):
    with pytest.raises(UsageError) as raised:
        SqlSink("sink", options)

    assert "hunter2" not in str(raised.value)


def test_flags_are_documents_beside_the_decision_of_their_event(mongo, place):
    from pymongo import MongoClient

    two = replace(flag_row(7), number=2)
    with closing(MongoSink(place, {"url": mongo.address, "database": "bank", "collection": place})) as sink:
        assert sink.send([row(7), flag_row(7), two, two]) == []
    with MongoClient(mongo.address) as client:
        found = {item["_id"]: item["kind"] for item in client["bank"][place].find()}

    assert found == {"payment/p-7": "decision", "payment/p-7/7-1": "flag", "payment/p-7/7-2": "flag"}


def test_features_of_a_document_can_be_asked_for_by_their_names(mongo, place):
    from pymongo import MongoClient

    features = b'{"features":{"card.payments_1h":9,"card.spent_24h":"412.00"},"seq":1}'
    with closing(MongoSink(place, {"url": mongo.address, "database": "bank", "collection": place})) as sink:
        assert sink.send([replace(row(1), body=features)]) == []
    with MongoClient(mongo.address) as client:
        found = client["bank"][place].find_one({"features.card.payments_1h": {"$gt": 8}})

    assert found["features"] == {"card": {"payments_1h": 9, "spent_24h": "412.00"}}


def test_a_document_of_a_shape_of_its_own_takes_its_place_again(mongo, place):
    from pymongo import MongoClient

    shape = {"ID": "row.id", "Type of Card": "row.fields.card", "Fraud": "1 when row.outcome == 'decline' else 0"}
    options = {"url": mongo.address, "database": "bank", "collection": place, "document": shape}
    sent = replace(row(1), body=b'{"id":"p-1","outcome":"decline"}', fields=b'{"card":"Visa"}')
    with closing(MongoSink(place, options)) as sink:
        assert [sink.send([sent]) for _ in range(2)] == [[], []]
    with MongoClient(mongo.address) as client:
        found = list(client["bank"][place].find())

    assert found == [{"_id": "payment/p-1", "ID": "p-1", "Type of Card": "Visa", "Fraud": 1}]


@pytest.mark.parametrize("shape", [{"a": "row.x +"}, {"a": "money(row.fields.amount)"}, {"a": "this.amount"}])
def test_a_document_whose_expression_is_none_is_refused(shape):
    with pytest.raises(UsageError, match=r"^a: "):
        MongoSink("sink", {"url": "mongodb://a", "database": "b", "collection": "c", "document": shape})


@pytest.mark.parametrize("url", ["http://a", "mongodb://shroff:hunter2@", "mongodb://shroff:hunter2@a:port"])
def test_what_is_no_mongodb_is_refused_and_shows_no_password(url):
    with pytest.raises(UsageError) as raised:
        MongoSink("sink", {"url": url, "database": "bank", "collection": "decisions"})

    assert "hunter2" not in str(raised.value)
