"""The servers that tests run against: each answers a client of its kind, and ends with the run, however that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from smtplib import SMTP
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tools.servers.errors import ServerError, UnavailableError
from tools.servers.fetching import from_maven
from tools.servers.keep import kept
from tools.servers.mail import Mail
from tools.servers.objects import GCS, S3, Azure
from tools.servers.ports import Port
from tools.servers.process import Child, wait_until
from tools.servers.web import listens, status

pytestmark = pytest.mark.slow
ASKS = """
import os, sys
from pathlib import Path
from tools.servers.keep import kept

print(kept("mail", Path(sys.argv[1]), int(sys.argv[2]) or os.getpid()).address, flush=True)
sys.stdin.read()
"""


def test_kafka_takes_and_gives_messages(kafka):
    from confluent_kafka import Consumer, Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.create_topics([NewTopic("asked-once", 1, -1)])["asked-once"].result(120)
    producer = Producer({"bootstrap.servers": kafka.address, "acks": "all"})
    producer.produce("asked-once", b"a payment")
    assert producer.flush(120) == 0
    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["asked-once"])
    message = consumer.poll(120)
    consumer.close()
    assert message is not None
    assert message.value() == b"a payment"


def test_the_registry_gives_a_schema_by_its_number(registry):
    schema = json.dumps({"type": "record", "name": "P", "fields": [{"name": "amount", "type": "long"}]})
    asked = Request(
        f"{registry.address}/subjects/asked-once-value/versions",
        json.dumps({"schema": schema}).encode(),
        {"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    with urlopen(asked, timeout=120) as answer:
        number = json.load(answer)["id"]
    with urlopen(f"{registry.address}/schemas/ids/{number}", timeout=120) as answer:
        assert json.loads(json.load(answer)["schema"]) == json.loads(schema)


def test_redis_keeps_a_stream_and_asks_for_a_password(redis):
    import redis as library

    client = library.Redis.from_url(redis.address)
    client.xadd("asked-once", {"amount": "12.30"})
    assert [fields for _, fields in client.xrange("asked-once")] == [{b"amount": b"12.30"}]
    where = urlsplit(redis.address)
    with pytest.raises(library.AuthenticationError):
        library.Redis(where.hostname, where.port).ping()


def test_postgres_keeps_numbers_exactly(postgres):
    import psycopg

    with psycopg.connect(postgres.address) as connection:
        assert connection.execute("SELECT 0.1::numeric + 0.2 = 0.3").fetchone() == (True,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.address, password="another").close()


def test_mariadb_keeps_what_is_committed(mariadb):
    import pymysql

    where = urlsplit(mariadb.address)
    with (
        pymysql.connect(
            host=where.hostname, port=where.port, user=where.username, password=where.password, database=where.path[1:]
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE IF NOT EXISTS asked_once (id INT PRIMARY KEY) ENGINE=InnoDB")
        cursor.execute("REPLACE INTO asked_once VALUES (7)")
        connection.commit()
        cursor.execute("SELECT id FROM asked_once")
        assert cursor.fetchall() == ((7,),)


def test_mongo_replaces_a_document_by_its_id(mongo):
    import pymongo

    with pymongo.MongoClient(mongo.address) as client:
        documents = client["shroff"]["asked_once"]
        for outcome in ("review", "decline"):
            documents.replace_one({"_id": "p-1"}, {"outcome": outcome}, upsert=True)
        assert list(documents.find()) == [{"_id": "p-1", "outcome": "decline"}]


def test_s3_puts_once_where_nothing_was(s3):
    from obstore.exceptions import AlreadyExistsError
    from obstore.store import S3Store

    store = S3Store(
        S3.create_at(s3.address, f"asked-once-{os.getpid()}"),
        endpoint=s3.address,
        client_options={"allow_http": True},
        access_key_id=s3.details["aws_access_key_id"],
        secret_access_key=s3.details["aws_secret_access_key"],
        region=s3.details["aws_region"],
    )
    store.put("a/b.json", b"1", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("a/b.json", b"2", mode="create")
    assert bytes(store.get("a/b.json").bytes()) == b"1"


def test_gcs_puts_once_where_nothing_was(gcs):
    put = f"{gcs.address}/{GCS.create_at(gcs.address, f'asked-once-{os.getpid()}')}/a/b.json"
    headers = {"Authorization": "Bearer x", "x-goog-if-generation-match": "0"}
    assert [status(put, "PUT", body, headers=headers) for body in (b"1", b"2")] == [200, 412]


def test_azure_puts_once_where_nothing_was(azure):
    from obstore.exceptions import AlreadyExistsError
    from obstore.store import AzureStore

    container = Azure.create_at(azure.address, f"asked-once-{os.getpid()}", azure.details["account_key"])
    store = AzureStore(container, endpoint=azure.address, client_options={"allow_http": True}, **azure.details)
    store.put("a/b.json", b"1", mode="create")
    with pytest.raises(AlreadyExistsError):
        store.put("a/b.json", b"2", mode="create")


def test_mail_is_kept_where_the_server_says(mail):
    where = urlsplit(mail.address)
    with SMTP(where.hostname, where.port) as client:
        refused = client.sendmail("shroff@localhost", ["analyst@localhost"], b"Subject: held\r\n\r\nA payment.\r\n")
    kept = [path.read_bytes() for path in Path(mail.details["mails"]).iterdir()]

    assert refused == {}
    assert any(b"Subject: held" in item for item in kept)


# ---- how they are kept


def asks(folder: Path, owner: int = 0) -> subprocess.Popen[str]:
    """A process that asks for the mail server of a run, and then waits."""
    command = [sys.executable, "-c", ASKS, str(folder), str(owner)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_the_run_that_asked_for_it(by, tmp_path):
    with asks(tmp_path) as first, asks(tmp_path, first.pid) as second:
        address, the_same = (process.stdout.readline().strip() for process in (first, second))
        assert address == the_same
        port = urlsplit(address).port
        second.kill()
        second.wait()
        time.sleep(1)  # nothing ends
        assert listens(port), "it goes with the owner, not with whoever asked later"

        first.send_signal(by)
        first.wait()
        wait_until(lambda: not listens(port), within_s=120)
    wait_until((tmp_path / "mail.mail.log").exists, within_s=120)  # its log stays with the run


def test_what_cannot_be_had_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"mvn is not on the path: it needs Maven \(Debian: maven\)"):
        from_maven("jars", ["a:b:1"])
    assert not list((tmp_path / "shroff-servers").glob("jars/*")), "nothing half fetched is left"


def test_a_server_that_ends_by_itself_shows_its_log(tmp_path):
    child = Child("a server", [sys.executable, "-c", "raise SystemExit('no room')"], tmp_path / "x.log")
    with pytest.raises(ServerError, match="a server ended by itself:\nno room"):
        child.start(lambda: False)


def test_a_server_that_is_closed_leaves_nothing():
    with Mail() as mail:
        port, folder = urlsplit(mail.address).port, mail.folder
        mail.children()[0].kill()
        assert not listens(port)
        mail.start()
        assert listens(port)
    assert not listens(port)
    assert not folder.exists()


def test_two_runs_get_different_ports():
    ports = [Port() for _ in range(20)]
    assert len({port.number for port in ports}) == 20
    for port in ports:
        port.close()


def test_an_unknown_server_is_refused(tmp_path):
    with pytest.raises(ServerError, match="the keeper of nothing ended"):
        kept("nothing", tmp_path, os.getpid())
