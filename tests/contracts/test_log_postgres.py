from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import psycopg
import pytest

from shroff.adapters.databases.postgres_session import PostgresSession
from shroff.adapters.databases.server_url import server_url
from shroff.adapters.log.postgresql import PostgresLog
from shroff.errors import LogBusyError, StorageError, TransientError
from shroff.streams.log import Log
from tests.contracts.cutting import Wire
from tests.support.contracts.log.basics import LogContract
from tools.servers.databases import Postgres
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
smoke = ("test_a_connection_that_the_server_says_it_ends_is_lost_before_its_end_is_seen",)
HOLD = """
import sys
from shroff.adapters.log.postgresql import PostgresLog
from tests.support.log_holder import hold
hold(lambda on_step: PostgresLog(sys.argv[1], on_step=on_step))
"""
FULL = """
CREATE FUNCTION {schema}.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT sum(length(data)) FROM {schema}.event_frames) > 200000 THEN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER is_full AFTER INSERT ON {schema}.event_frames EXECUTE FUNCTION {schema}.full();
"""


def schema_of(folder: Path) -> str:
    return f"log_{blake2b(str(folder).encode(), digest_size=8).hexdigest()}"


# A former leader that does not look whether it still leads, and one that leaves its lease for a minute.
NEVER_OVERTAKEN = f"""from shroff.adapters.log.connection import postgresql as postgresql_connection
postgresql_connection.check_epoch = lambda *_: None
{HOLD}"""
KEEPS_ITS_PLACE = HOLD.replace("on_step=on_step", "on_step=on_step, lease_s=60")


class TestPostgresLog(LogContract):
    smoke = (
        "test_what_is_appended_is_read_back",
        "test_an_id_is_unique_within_its_type",
        "test_a_batch_is_there_whole_or_not_at_all",
        "test_what_was_acknowledged_is_there_after_a_crash",
        "test_readers_see_whole_batches_only",
        "test_a_second_writer_is_refused_at_once",
        "test_a_full_disk_refuses_the_batch_and_keeps_the_rest",
        "test_what_is_erased_is_gone_and_nothing_else",
        "test_records_of_large_batches_read_as_those_of_small_ones",
        "test_requests_wait_in_the_order_in_which_they_were_asked",
        "test_a_reply_comes_with_its_batch_and_only_once",
        "test_values_find_their_records",
        "test_nothing_is_written_by_a_log_that_was_overtaken",
        "test_of_those_that_open_at_once_exactly_one_leads",
        "test_an_offset_moves_only_from_where_the_batch_says_it_was",
        "test_a_killed_writer_leaves_its_place_free",
        "test_what_is_behind_a_pruned_place_reads_as_before",
        "test_ids_are_remembered_for_ever",
    )
    hold: ClassVar[str] = HOLD
    address: str

    @pytest.fixture(autouse=True)
    def _server(self, postgres: Kept, tmp_path: Path) -> Iterator[None]:
        self.address = postgres.address
        yield
        with psycopg.connect(postgres.address, autocommit=True) as shell:
            shell.execute(f"DROP SCHEMA IF EXISTS {schema_of(tmp_path)} CASCADE")

    def url(self, folder: Path) -> str:
        return f"{self.address}?schema={schema_of(folder)}"

    def make_log(self, folder: Path) -> PostgresLog:
        return PostgresLog(self.url(folder))

    def make_reader(self, folder: Path) -> PostgresLog:
        return PostgresLog(self.url(folder), read_only=True)

    def make_small_log(self, folder: Path) -> PostgresLog:
        log = self.make_log(folder)
        with psycopg.connect(self.address, autocommit=True) as shell:
            shell.execute(FULL.format(schema=schema_of(folder)))
        return log

    def overtake(self, log: Log, folder: Path) -> PostgresLog:
        return self._taken_over(folder)

    def _taken_over(self, folder: Path) -> PostgresLog:
        with psycopg.connect(self.address, autocommit=True) as shell:
            shell.execute(f"UPDATE {schema_of(folder)}.lease SET expires_ms = 0, epoch = 0")
        return self.make_log(folder)

    def after_crash(self, folder: Path) -> PostgresLog:
        (running,) = self.server.children()
        running.kill()
        self.server.start()
        return self._taken_over(folder)

    def holding_program(self, folder: Path) -> list[str]:
        return [sys.executable, "-c", self.hold, self.url(folder)]

    def test_what_was_acknowledged_is_there_after_a_crash(self, tmp_path: Path) -> None:
        with Postgres() as self.server:
            self.address = self.server.address
            super().test_what_was_acknowledged_is_there_after_a_crash(tmp_path)


class Recorded(TestPostgresLog):
    """The suite, bound so that what it opens can be closed where one of its tests fails."""

    free_s: ClassVar[float] = 3 + 1  # it never is
    overtaken_s: ClassVar[float] = 3 + 8

    def __init__(self) -> None:
        self.made: list[PostgresLog] = []

    def make_log(self, folder: Path) -> PostgresLog:
        self.made.append(super().make_log(folder))
        return self.made[-1]


def test_a_question_that_the_driver_refuses_is_not_told_as_a_server_that_is_away(postgres):
    with (
        closing(session_at(postgres.address)) as session,
        pytest.raises(StorageError, match="the driver refused: the query has 1 placeholder"),
    ):
        session.ask("SELECT %s")


def test_a_connection_that_the_server_says_it_ends_is_lost_before_its_end_is_seen(postgres):
    port = urlsplit(postgres.address).port
    with (
        psycopg.connect(postgres.address, autocommit=True) as shell,
        Wire("127.0.0.1", port, is_slow=True) as wire,
        closing(session_at(postgres.address.replace(str(port), str(wire.own_port)))) as session,
    ):
        process = session.name().split()[0]
        session.begin("SELECT 1")
        session.do("SELECT pg_sleep(30)")  # sent, and not waited for
        shell.execute(f"SELECT pg_terminate_backend({process}, 5000)")
        assert select.select([session._connection], [], [], 120)[0]

        with pytest.raises(TransientError, match="terminating connection due to administrator command"):
            session.do("SELECT 1")
        assert session.is_lost


def session_at(address: str) -> PostgresSession:
    return PostgresSession(server_url(address, ("postgresql", "postgres"), 5432, ()))


@pytest.mark.parametrize(
    ("hold", "test", "line"),
    [
        (NEVER_OVERTAKEN, "test_an_owner_that_was_frozen_is_overtaken_and_finds_that_out", [""]),
        (KEEPS_ITS_PLACE, "test_a_killed_writer_leaves_its_place_free", []),
    ],
)
def test_the_contract_rejects_a_server_log_that_breaks_a_promise(postgres, tmp_path, hold, test, line):
    suite = Recorded()
    suite.address, suite.hold = postgres.address, hold
    try:
        with pytest.raises((AssertionError, LogBusyError)):
            getattr(suite, test)(tmp_path, *line)
    finally:
        for log in suite.made:
            log.close()
        with psycopg.connect(postgres.address, autocommit=True) as shell:
            shell.execute(f"DROP SCHEMA {schema_of(tmp_path)} CASCADE")
