"""Backups of a log in a database server, by the server's own programs: made, restored elsewhere, and refused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from shroff.adapters.databases import dump_tools, mariadb_dump
from shroff.adapters.databases.mariadb_session import connection
from shroff.adapters.databases.server_url import server_url
from shroff.adapters.lake.folder import FolderObjects
from shroff.adapters.log.mariadb import MariadbLog
from shroff.app import project as app
from shroff.app.backups.creating import BackupWriter
from shroff.app.backups.keeping import verified, writer_of
from shroff.app.backups.restoring import IN_DOUBT, ServerTarget, restore
from shroff.app.backups.server_logs import LOG, restored_tools
from shroff.app.backups.server_logs import dump_tools as dump_tools_of
from shroff.app.backups.vault import Vault
from shroff.app.wiring import store_adapter
from shroff.cli.main import run
from shroff.errors import LogBusyError, StorageError, UsageError
from shroff.notices.store import OPEN, UNKNOWN
from tests.app.test_backups import KEY, receipts, vault
from tests.app.test_migrating import versions
from tests.contracts.test_log_servers import ADDED
from tests.recovery.harness import in_a_process
from tests.support.kill import KillSwitch
from tests.support.telling import FILES, Bank, payment
from tools.servers.databases import with_mariadb_tools, with_postgres_tools
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
TABLES = "of_backups"
smoke_of = {
    "mariadb": {
        "test_a_log_in_a_server_is_restored_into_another_database",
        "test_a_backup_is_of_the_moment_at_which_it_began",
        "test_a_damaged_piece_leaves_the_database_empty",
        "test_a_killed_restore_leaves_nothing_or_says_what_to_remove",
        "test_a_program_that_is_missing_old_or_fails_is_named_with_its_cure",
    }
}


@dataclass(frozen=True)
class Databases:
    """Two databases on a server of one kind: the bank's, and an empty one.

    Args:
        tables: The option of an address that names the schema or prefix.
        programs: What writes a log out, and what reads it in again.
        others: What the server has for the changes in between.
        version: How the programs print theirs.
        waiting: Asks how many other sessions are in a database.
    """

    kind: str
    urls: list[str]
    tables: str
    programs: tuple[str, str]
    others: str
    version: str
    waiting: str

    @property
    def password(self) -> str:
        return urlsplit(self.urls[0]).password or ""

    def ask(self, url: str, sql: str) -> list[Any]:
        if self.kind == "postgresql":
            with psycopg.connect(url, autocommit=True) as shell:
                cursor = shell.execute(sql)
                return cursor.fetchall() if cursor.description else []
        with closing(connection(server_url(url, ("mariadb",), 3306, ()))) as shell, shell.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def found(self, url: str) -> list[str]:
        """The tables of the log."""
        sql = f"SELECT tablename FROM pg_tables WHERE schemaname = '{TABLES}'"
        if self.kind == "mariadb":
            sql = f"SELECT table_name FROM information_schema.tables WHERE left(table_name, {len(TABLES)}) = '{TABLES}'"
            sql += " AND table_schema = DATABASE()"
        return [name for (name,) in self.ask(url, sql)]

    def emptied(self, url: str) -> None:
        if self.kind == "postgresql":
            self.ask(url, f"DROP SCHEMA IF EXISTS {TABLES} CASCADE")
        elif names := self.found(url):
            self.ask(url, f"DROP TABLE {', '.join(names)}")

    def wait_for_sessions(self, url: str) -> None:
        """Wait until nobody else is in a database: the server may still do what a killed process asked of it."""
        while list(self.ask(url, self.waiting)) != [(0,)]:
            time.sleep(0.05)

    def end_lease(self) -> None:
        """Have the lease of a process that was killed run out now, not in seconds."""
        ahead = f"{TABLES}." if self.kind == "postgresql" else TABLES
        self.ask(self.urls[0], f"UPDATE {ahead}lease SET expires_ms = 0")


def of_postgresql(urls: list[str]) -> Databases:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    programs, version = ("pg_dump", "pg_restore"), "pg_dump (PostgreSQL) {}.6"
    return Databases("postgresql", urls, "schema", programs, "WAL archiving", version, waiting)


def of_mariadb(urls: list[str]) -> Databases:
    waiting = "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    version = "mariadb-dump  Ver 10.19 Distrib {}.4.19-MariaDB, for debian-linux-gnu (x86_64)"
    return Databases("mariadb", urls, "prefix", ("mariadb-dump", "mariadb"), "binary log", version, waiting)


KINDS = {"postgresql": of_postgresql, "mariadb": of_mariadb}


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """Two databases of this module."""
    server: Kept = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
    names = [f"shroff_{uuid4().hex[:12]}" for _ in range(2)]
    urls = [urlsplit(server.address)._replace(path=f"/{one}").geturl() for one in names]
    found = KINDS[request.param](urls)
    for one in names:
        found.ask(server.address, f"CREATE DATABASE {one}")
    yield found
    for one in names:
        found.ask(server.address, f"DROP DATABASE {one}{' WITH (FORCE)' if found.kind == 'postgresql' else ''}")


@pytest.fixture
def databases(made: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    """Both databases empty, the first one as the environment has it for the project; and the tools of the server."""
    tools = with_postgres_tools if made.kind == "postgresql" else with_mariadb_tools
    for name, value in tools().items():
        monkeypatch.setenv(name, value)
    for name, url in zip(("BANK_STORE", "OTHER_STORE"), made.urls, strict=True):
        monkeypatch.setenv(name, f"{url.partition('://')[2]}?{made.tables}={TABLES}")
    yield made
    for url in made.urls:
        made.emptied(url)


def other(databases: Databases, *, again: bool = False) -> ServerTarget:
    return ServerTarget(f"{databases.kind}://${{OTHER_STORE}}", again=again)


def settings_of(databases: Databases) -> dict[str, str]:
    return {"shroff.yaml": f"{FILES['shroff.yaml']}store: {databases.kind}://${{BANK_STORE}}\n"}


@pytest.fixture
def bank(databases: Databases, tmp_path: Path) -> Bank:
    found = Bank(tmp_path / "bank", settings_of(databases))
    found.pay(payment())
    return found


def backed_up(bank: Bank | app.Project, place: Path, key: bytes | None = None) -> None:
    opened = (bank.project if isinstance(bank, Bank) else bank).opened
    with writer_of(opened, vault(place, key)) as writer:
        assert (point := writer.create()) is not None
        assert point.is_full


@pytest.mark.parametrize(
    "key", [pytest.param(None, id="plain", marks=pytest.mark.long), pytest.param(KEY, id="encrypted")]
)
def test_a_log_in_a_server_is_restored_into_another_database(bank, databases, tmp_path, monkeypatch, key):
    bank.post.failing = [OSError("the server went away")]
    bank.tell(steps=2)
    assert [one.state for one in bank.letters()] == [OPEN]
    backed_up(bank, tmp_path / "vault", key)
    bank.pay(payment("p-2", card="c-2"))
    backed_up(bank, tmp_path / "vault", key)
    known = receipts(bank.folder)
    password = databases.password.encode()
    stored = b"".join(one.read_bytes() for one in (tmp_path / "vault").rglob("*") if one.is_file())
    assert password not in stored
    pieces = (vault(tmp_path / "vault", key).get(one) for one in vault(tmp_path / "vault", key).pieces())
    assert not [one for one in pieces if password in one]
    assert verified(vault(tmp_path / "vault", key)).damaged == {}

    secrets = bank.folder / ".shroff"
    found = restore(vault(tmp_path / "vault", key), tmp_path / "again", secrets=secrets, into=other(databases))
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    again = Bank(tmp_path / "again", settings_of(databases))

    assert (found.number, found.held, found.last_seq) == (2, 1, known[-1][0])
    assert receipts(tmp_path / "again") == known
    assert again.project.verify().mismatches == 0
    assert {(one.state, one.reason) for one in again.letters()} == {(UNKNOWN, IN_DOUBT)}
    again.pay(payment("p-3"))
    assert len(receipts(tmp_path / "again")) == 3


def test_a_backup_is_of_the_moment_at_which_it_began(bank, databases, tmp_path, monkeypatch):
    tool, paid = BackupWriter._scan, []

    def scan(writer, files):
        bank.pay(payment("meanwhile"))
        paid.append(1)
        return tool(writer, files)

    def dumped(*args):
        """A payment comes while the program begins, and has to wait: the end of the log is known already."""
        paying.start()
        paying.join(1)
        yield from dump_tools.dumped(*args)

    paying = Thread(target=lambda: bank.pay(payment("as it begins")))
    monkeypatch.setattr(mariadb_dump, "dumped", dumped)
    monkeypatch.setattr(BackupWriter, "_scan", scan)
    with writer_of(bank.project.opened, vault(tmp_path / "vault")) as writer:
        point = writer.create()
    if paying.ident is not None:
        paying.join()
    known, dump = point.databases[LOG].last_seq, point.databases[LOG].dump
    found = restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases))

    assert paid == [1]
    assert (found.last_seq, dump.kind, dump.tables) == (known, databases.kind, TABLES)
    assert dump.made_by.startswith(databases.programs[0])
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    assert len(receipts(tmp_path / "again")) == 1


def test_what_is_not_empty_or_of_another_kind_is_refused(bank, databases, tmp_path):
    place = tmp_path / "vault"
    backed_up(bank, place)
    files = Bank(tmp_path / "files")
    files.pay(payment())
    with BackupWriter(files.project.opened, vault(tmp_path / "of-files")) as writer:
        writer.create()
    kind, tables = databases.kind, databases.tables
    (another,) = KINDS.keys() - {kind}
    empty = f"the schema {TABLES} is not empty" if kind == "postgresql" else f"tables that begin with '{TABLES}'"
    for store, words in (
        (None, empty),
        (f"{kind}://${{OTHER_STORE}}_x", f"the backup is of tables {TABLES} in {kind}"),
        (f"{another}://me@localhost/x", f"the backup is of tables {TABLES} in {kind}"),
        (f"{kind}://me:literal@localhost/x?{tables}={TABLES}", "--store has a password"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            restore(vault(place), tmp_path / "again", into=ServerTarget(store))
        assert "DROP" not in str(refused.value), "the log in use"
        assert not (tmp_path / "again").exists()
    with pytest.raises(UsageError, match="needs no --store"):
        restore(vault(tmp_path / "of-files"), tmp_path / "again", into=other(databases))
    assert databases.found(databases.urls[1]) == []
    settings = bank.folder / "shroff.yaml"
    settings.write_text(FILES["shroff.yaml"])
    with (
        pytest.raises(UsageError, match="has backups of this project's log in a database server"),
        writer_of(app.open_exactly(bank.folder).opened, vault(place)),
    ):
        pass


def test_a_damaged_piece_leaves_the_database_empty(bank, databases, tmp_path):
    with writer_of(bank.project.opened, vault(tmp_path / "vault")) as writer:
        name = writer.create().databases[LOG].whole[-1]
    path = tmp_path / "vault" / "pieces" / name[:2] / name
    path.write_bytes(path.read_bytes()[:-7])

    with pytest.raises(StorageError, match="was truncated or altered"):
        restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases))
    assert databases.found(databases.urls[1]) == []
    assert not (tmp_path / "again").exists()


def test_a_killed_backup_leaves_the_one_before(bank, databases, tmp_path):
    backed_up(bank, tmp_path / "vault")
    bank.pay(payment("p-2"))

    def backed_up_by(switch):
        place = Vault(FolderObjects(str(tmp_path / "vault"), on_step=switch))
        with writer_of(app.open_exactly(bank.folder).opened, place) as writer:
            writer.create()

    assert in_a_process(lambda: backed_up_by(KillSwitch("named", 1))) == signal.SIGKILL
    assert vault(tmp_path / "vault").numbers() == [1]
    assert verified(vault(tmp_path / "vault")).damaged == {}
    backed_up(bank, tmp_path / "vault")
    assert restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases)).number == 2


def test_a_killed_restore_leaves_nothing_or_says_what_to_remove(bank, databases, tmp_path, monkeypatch):
    monkeypatch.setattr("shroff.adapters.databases.dump_tools.PIECE_BYTES", 4_096)
    bank.pay(*(payment(f"q-{number}") for number in range(100)))
    backed_up(bank, tmp_path / "vault")

    def killed(step, count=1):
        switch = KillSwitch(step, count)
        place, folder = vault(tmp_path / "vault"), tmp_path / "again"
        told = {"on_step": switch, "progress": lambda _: switch("piece")}
        return in_a_process(lambda: restore(place, folder, into=other(databases), **told))

    def left():
        databases.wait_for_sessions(databases.urls[1])
        return bool(databases.found(databases.urls[1])), (tmp_path / "again").exists()

    def again(folder=tmp_path / "again", *, removes=False):
        return restore(vault(tmp_path / "vault"), folder, into=other(databases, again=removes)).number

    def refused(words, *, removes=False):
        with pytest.raises(UsageError, match=words):
            again(removes=removes)
        return left()[0]

    pieces = len(vault(tmp_path / "vault").point(1)[0].databases[LOG].whole)
    is_undone = databases.kind == "postgresql"
    for step, count in (("shroff.yaml", 1), ("piece", 1), ("piece", pieces - 1)):  # the tables stand before the rows
        assert killed(step, count) == signal.SIGKILL
        assert left() == (not is_undone and step == "piece", False)
        if left()[0]:
            with pytest.raises(StorageError, match="an interrupted restore left these tables"):
                MariadbLog(f"{databases.urls[1]}?prefix={TABLES}")
            databases.emptied(databases.urls[1])
    assert killed(LOG) == signal.SIGKILL
    assert left() == (True, False)
    with pytest.raises(StorageError, match="an interrupted restore left these tables"):
        store_adapter(url := f"{databases.kind}://{os.environ['OTHER_STORE']}").is_there(url)
    assert refused("An interrupted restore left them: run the command again with --again")
    ours = f"{TABLES}{'.' if is_undone else ''}"
    databases.ask(databases.urls[1], f"CREATE TABLE {ours}mine (number BIGINT)")
    assert refused("but not mine: move these elsewhere and run the command again with --again", removes=True)
    databases.ask(databases.urls[1], f"DROP TABLE {ours}mine")
    assert again(removes=True) == 1
    with pytest.raises(UsageError, match="Name an empty database with --store"):
        again(tmp_path / "more", removes=True)


def test_two_restores_into_one_database_do_not_run_beside_each_other(bank, databases, tmp_path):
    backed_up(bank, tmp_path / "vault")
    (tool,) = restored_tools(vault(tmp_path / "vault").point(1)[0], bank.folder, other(databases).url, None).values()
    with (
        tool.emptied(again=False),
        pytest.raises(LogBusyError, match="another restore into it is running"),
    ):
        restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases, again=True))
    assert restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases)).number == 1


def as_of_version_1(databases: Databases) -> None:
    ahead = f"{TABLES}." if databases.kind == "postgresql" else TABLES
    for table, column in ADDED:
        databases.ask(databases.urls[0], f"ALTER TABLE {ahead}{table} DROP COLUMN {column}")
    for table in ("batches", "decision_frames", "event_frames", "event_ids", "id_runs", "id_parts"):
        databases.ask(databases.urls[0], f"DROP TABLE {ahead}{table}")
    databases.ask(databases.urls[0], f"UPDATE {ahead}version SET number = 1")


def test_tables_of_an_older_version_are_backed_up_and_migrated(bank, databases, tmp_path, monkeypatch, capfd):
    as_of_version_1(databases)

    def migrate():
        return run(["-C", str(bank.folder), "migrate", "--apply", "--at", str(tmp_path / "vault")])

    assert run(["-C", str(bank.folder), "migrate"]) == 0
    assert "Tables of an older version." in capfd.readouterr().out
    (tool,) = dump_tools_of(bank.project.opened).values()
    with tool.alone():  # as while a worker of the older version runs
        with pytest.raises(LogBusyError):
            bank.project.opened.open_log(read_only=False)
        assert migrate() == 3
    assert "is being written by" in capfd.readouterr().err
    assert (versions(bank.folder)["log"], (tmp_path / "vault").exists()) == (1, False)

    assert migrate() == 0
    assert "Backup 1 made, tables migrated." in capfd.readouterr().out
    assert versions(bank.folder)["log"] == tool.version
    assert migrate() == 0
    assert "Nothing to migrate." in capfd.readouterr().out
    assert bank.project.verify().mismatches == 0
    restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases))
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    assert versions(tmp_path / "again")["log"] == 1


def test_tables_of_a_newer_version_are_refused(bank, databases, tmp_path, capfd):
    ahead = f"{TABLES}." if databases.kind == "postgresql" else TABLES
    databases.ask(databases.urls[0], f"UPDATE {ahead}version SET number = 99")

    assert run(["-C", str(bank.folder), "migrate"]) == 1
    assert "refuse" in capfd.readouterr().out
    assert run(["-C", str(bank.folder), "migrate", "--apply", "--at", str(tmp_path / "vault")]) == 3
    assert "a newer shroff wrote these tables: log: log version 99" in capfd.readouterr().err
    assert not (tmp_path / "vault").exists()


def program(folder: Path, names: Iterable[str], text: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_program_that_is_missing_old_or_fails_is_named_with_its_cure(bank, tmp_path, databases):
    settings = bank.folder / "shroff.yaml"
    known, names, (dump, _) = settings.read_text(), databases.programs, databases.programs
    fails = f"""test "$1" = --version && echo "{databases.version.format(99)}" && exit
        echo some; echo "$*" >"$0.arguments"; echo "no: $PGPASSWORD$MYSQL_PWD" >&2; exit 3"""
    old = program(tmp_path / "old", names, f"echo '{databases.version.format(9)}'")
    (tmp_path / "empty").mkdir()
    for folder, error, words in (
        (tmp_path / "empty", UsageError, rf"{dump} is not in .*Install .*'s client programs \(Debian: \w+-client"),
        (old, UsageError, "is older than the server at"),
        (program(tmp_path / "else", names, "echo mysqldump 8"), UsageError, "prints no version"),
        (program(tmp_path / "fails", names, fails), StorageError, rf"{dump} ended with 3: no: \*\*\*$"),
    ):
        settings.write_text(f"{known}backup: {{ to: '{tmp_path / 'vault'}', tools: '{folder}' }}\n")
        opened = app.open_exactly(bank.folder).opened
        with pytest.raises(error, match=words) as found, writer_of(opened, vault(tmp_path / "vault")) as writer:
            writer.create()
        assert databases.password not in str(found.value)
        assert vault(tmp_path / "vault").numbers() == []
    words = (tmp_path / "fails" / f"{dump}.arguments").read_text()
    assert TABLES in words
    assert databases.password not in words
    bank.pay(payment("p-2"))  # no lock is left


def test_the_commands_back_up_and_restore_a_log_in_a_server(bank, databases, tmp_path, capfd):
    place, of_bank = str(tmp_path / "vault"), ["-C", str(bank.folder), "backup"]
    assert run([*of_bank, "create", "--follow", "--at", place]) == 2
    said = capfd.readouterr().err
    assert "--follow ships the changes of a log in a file" in said
    assert databases.others in said
    for words in (["create"], ["list"], ["verify"], ["prune"]):
        assert run([*of_bank, *words, "--at", place]) == 0
    assert "full backup 1 of " in capfd.readouterr().out

    args = ["restore", str(tmp_path / "again"), "--from", place, "--store", other(databases).url]
    assert run([*args, "--secrets", str(bank.folder / ".shroff")]) == 0
    assert "Now set 'store' in" in capfd.readouterr().out
    assert databases.found(databases.urls[1])
