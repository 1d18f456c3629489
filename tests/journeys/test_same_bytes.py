"""PaySim through files, posts, Kafka and Redis, into SQLite and PostgreSQL: the same decisions to the byte.

That a cluster decides the recorded log alike is in tests/lake/test_lake_decide.py.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import redis as redis_library
from confluent_kafka.admin import AdminClient

from shroff.services import project as app
from tests.support.served import served

smoke = (
    "test_posts_give_the_receipts_of_the_file_and_answer_by_them",
    "test_a_worker_that_reads_the_file_gives_its_receipts_too",
    "test_one_partition_and_postgresql_give_the_receipts_of_the_file",
)

TEMPLATE = Path(str(resources.files("shroff"))) / "templates" / "paysim"
PAYSIM = "paysim_sample_51392.csv"
HEAD = (
    "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,"
    "isFraud,isFlaggedFraud"
)
TYPES = ("PAYMENT", "TRANSFER", "CASH_OUT", "DEBIT", "CASH_IN")
ENGINES = ("online", "batch")  # of all events; what the definition says of a sample of them is `naive`
POSTED = 2_000  # of one request
AS_JSON, AS_LINES = {"content-type": "application/json"}, {"content-type": "application/x-ndjson"}
NAMES = (f"same-bytes-{os.getpid()}-{number}" for number in itertools.count())


@dataclass(frozen=True)
class Sent:
    """Payments in order of time, and what they gave in one process on one file: their records, and decisions."""

    file: Path
    count: int
    recorded: list[tuple[Any, ...]]
    decided: list[tuple[Any, ...]]

    @property
    def bodies(self) -> list[bytes]:
        """The payments as JSON."""
        return [row[-1] for row in self.recorded]


def opened(folder: Path, **systems: Any) -> app.Project:
    """A project of the template with these systems, whatever the clock of this machine says."""
    shutil.copytree(TEMPLATE, folder)
    with (folder / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write("\nahead: 3650d\n")
        file.writelines(f"{key}: {msgspec.json.encode(value).decode()}\n" for key, value in systems.items())
    return app.open(folder)


def decided(project: app.Project) -> list[tuple[Any, ...]]:
    """Place, name, receipt and document of every decision, in the order of places."""
    with project.log.reading() as log:
        return [
            (row.seq, row.event, row.id, row.receipt, row.document) for rows in log.decisions.after() for row in rows
        ]


def recorded(project: app.Project) -> list[tuple[Any, ...]]:
    """Place, name, time and body of every event, in the order of places."""
    with project.log.reading() as log:
        rows = (row for rows in log.read() for row in rows if row.kind == "event")
        return [(row.seq, row.type, row.id, row.time_ms, row.body) for row in rows]


def made_up(count: int) -> Iterator[str]:
    """Lines of PaySim's columns: payees who come again, payers who empty their accounts, some seconds of one hour."""
    for number in range(count):
        before, kind = number * 977 % 130_000, TYPES[number % 5]
        amount = f"{before}.50" if number % 13 == 0 else f"{number * 7_919 % 260_000}.{number % 100:02d}"
        payee = f"M{number % 9},0.0,0.0" if kind == "PAYMENT" else f"C{number % 17},{number}.25,{number + 1}.25"
        yield f"{1 + number // 90},{kind},{amount},C{number % 40},{before}.50,0.0,{payee},{int(number % 13 == 0)}.0,0.0"


def in_order_of_time(file: Path) -> Iterator[str]:
    """The lines of the sample, which is shuffled."""
    head, *lines = file.read_text(encoding="utf-8").splitlines()
    assert head == HEAD
    return iter(sorted(lines, key=lambda line: int(line.partition(",")[0])))


@pytest.fixture(
    scope="module", params=["some made-up payments", pytest.param("all payments of the sample", marks=pytest.mark.long)]
)
def sent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    is_whole = request.param == "all payments of the sample"
    lines = list(in_order_of_time(request.getfixturevalue("data") / PAYSIM) if is_whole else made_up(1_500))
    folder = tmp_path_factory.mktemp("embedded")
    (folder / "paysim.csv").write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")
    embedded = opened(folder / "paysim")
    embedded.ingest(folder / "paysim.csv", as_type="payment")
    found = embedded.verify(ENGINES if is_whole else (*ENGINES, "naive"))
    assert (found.events, found.mismatches) == (len(lines), 0)
    return Sent(folder / "paysim.csv", len(lines), recorded(embedded), decided(embedded))


@pytest.fixture(scope="module")
def topics(kafka: Any, sent: Sent, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Any]]:
    """A source by its number of partitions, the payments in it; sent once for all who read it."""
    made: dict[int, dict[str, Any]] = {}

    def source(partitions: int) -> dict[str, Any]:
        if partitions not in made:
            made[partitions] = {"kafka": {"brokers": kafka.address, "topics": {"payment": next(NAMES)}}}
            sender = opened(tmp_path_factory.mktemp("sender") / "paysim", source=made[partitions])
            done = sender.production.produce(sent.file, as_type="payment", partitions=partitions)
            assert (done.sent, done.refused, done.failed) == (sent.count, 0, 0), done.words
        return made[partitions]

    yield source
    admin = AdminClient({"bootstrap.servers": kafka.address})
    for gone in admin.delete_topics([item["kafka"]["topics"]["payment"] for item in made.values()]).values():
        gone.result()


@pytest.fixture
def postgres_store(postgres: Any) -> Iterator[str]:
    """A store in a schema of its own."""
    schema = next(NAMES).replace("-", "_")
    yield f"{postgres.address}?schema={schema}"
    with psycopg.connect(postgres.address, autocommit=True) as shell:
        shell.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


@pytest.fixture
def stream(redis: Any) -> Iterator[dict[str, Any]]:
    """A source that is a stream of its own."""
    name = next(NAMES)
    yield {"redis": {"url": redis.address, "streams": {"payment": name}}}
    with redis_library.Redis.from_url(redis.address) as client:
        client.delete(name, *client.keys(f"shroff:{name}*"))


def parts(bodies: list[bytes], size: int) -> Iterator[list[bytes]]:
    """So many at a time."""
    return (bodies[at : at + size] for at in range(0, len(bodies), size))


def taken(project: app.Project, count: int) -> None:
    """Let two workers take it in, the second one where the first one stopped."""
    first = project.live.run(limit=count // 3)
    rest = project.live.run(limit=count - count // 3, until_idle_s=30.0)

    assert first.counts.events.read + rest.counts.events.read == count
    assert (rest.counts.events.quarantined, rest.counts.events.duplicates) == (0, 0)


def holds_the_same(project: app.Project, sent: Sent) -> None:
    """A log of the same bytes verifies as that of the file did."""
    assert recorded(project) == sent.recorded
    assert decided(project) == sent.decided


def verifies(project: app.Project, sent: Sent) -> None:
    """For logs that are read from elsewhere than a file."""
    found = project.verify(ENGINES)
    assert (found.events, found.mismatches) == (sent.count, 0)


def test_one_partition_and_postgresql_give_the_receipts_of_the_file(sent, topics, postgres_store, tmp_path):
    project = opened(tmp_path / "paysim", source=topics(1), store=postgres_store)
    taken(project, sent.count)

    holds_the_same(project, sent)
    verifies(project, sent)


def test_a_stream_of_redis_and_sqlite_give_the_receipts_of_the_file(sent, stream, tmp_path):
    project = opened(tmp_path / "paysim", source=stream)
    assert project.production.produce(sent.file, as_type="payment").sent == sent.count
    taken(project, sent.count)

    holds_the_same(project, sent)


def test_a_worker_that_reads_the_file_gives_its_receipts_too(sent, tmp_path):
    project = opened(tmp_path / "paysim")
    assert project.live.run([sent.file], as_type="payment").counts.events.read == sent.count

    holds_the_same(project, sent)


@pytest.mark.parametrize("form", ["lists", "JSON lines"])
def test_posts_give_the_receipts_of_the_file_and_answer_by_them(sent, form, tmp_path):
    project, answers = opened(tmp_path / "paysim"), list[bytes]()
    with served(tmp_path / "paysim") as service, service.client() as client:
        for bodies in parts(sent.bodies, POSTED):
            if form == "lists":
                found = client.post("/api/v1/events/payment", content=b"[%b]" % b",".join(bodies), headers=AS_JSON)
                answers += map(bytes, msgspec.json.decode(found.content, type=list[msgspec.Raw]))
            else:
                found = client.post("/api/v1/events/payment", content=b"\n".join(bodies), headers=AS_LINES)
                answers += found.content.splitlines()
            assert found.status_code == 200

    assert answers == [row[-1] for row in sent.decided]
    holds_the_same(project, sent)


def test_calls_from_python_give_the_receipts_of_the_file_however_many_a_call_brings(sent, tmp_path):
    project, payments = opened(tmp_path / "paysim"), map(msgspec.json.decode, sent.bodies)
    for size in (1, 2, 30, 400):
        project.decide(itertools.islice(payments, size), as_type="payment")
    project.decide(payments, as_type="payment")

    holds_the_same(project, sent)


def test_of_four_partitions_every_payment_is_decided_once_and_verifies(sent, topics, tmp_path):
    project = opened(tmp_path / "paysim", source=topics(4))
    taken(project, sent.count)
    found = project.verify(ENGINES)

    assert (found.events, found.mismatches) == (sent.count, 0)
    assert sorted(row[1:3] for row in decided(project)) == sorted(row[1:3] for row in sent.decided)
