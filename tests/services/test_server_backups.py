"""Backups of a log in a database server, by the server's own programs: made, restored elsewhere, and refused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from shroff.adapters.databases import dump_tools, postgres_dump
from shroff.adapters.lake.folder import FolderObjects
from shroff.cli.main import run
from shroff.errors import LogBusyError, StorageError, UsageError
from shroff.notices.store import OPEN, UNKNOWN
from shroff.services import project as app
from shroff.services.adapter_factory import store_adapter
from shroff.services.backups.creation import BackupWriter
from shroff.services.backups.restoration import IN_DOUBT, ServerTarget, restore
from shroff.services.backups.retention import verified, writer_of
from shroff.services.backups.server_logs import dump_tool as dump_tool_of
from shroff.services.backups.server_logs import restored_tool
from shroff.services.backups.vault import Vault
from tests.recovery.harness import in_a_process
from tests.services.test_backups import KEY, receipts, vault
from tests.services.test_migrating import versions
from tests.support.kill import KillSwitch
from tests.support.next_version import use_version_2
from tests.support.telling import FILES, Bank, payment
from tools.servers.databases import with_postgres_tools
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
TABLES = "of_backups"
PROGRAMS = ("pg_dump", "pg_restore")
VERSION = "pg_dump (PostgreSQL) {}.6"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@dataclass(frozen=True)
class Databases:
    """Two databases on a server: the bank's, and an empty one."""

    urls: list[str]

    @property
    def password(self) -> str:
        return urlsplit(self.urls[0]).password or ""

    def ask(self, url: str, sql: str) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as shell:
            cursor = shell.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def found(self, url: str) -> list[str]:
        """The tables of the log."""
        sql = f"SELECT tablename FROM pg_tables WHERE schemaname = '{TABLES}'"
        return [name for (name,) in self.ask(url, sql)]

    def emptied(self, url: str) -> None:
        self.ask(url, f"DROP SCHEMA IF EXISTS {TABLES} CASCADE")

    def wait_for_sessions(self, url: str) -> None:
        """Wait until nobody else is in a database: the server may still do what a killed process asked of it."""
        while list(self.ask(url, WAITING)) != [(0,)]:
            time.sleep(0.05)

    def end_lease(self) -> None:
        """Have the lease of a process that was killed run out now, not in seconds."""
        self.ask(self.urls[0], f"UPDATE {TABLES}.lease SET expires_ms = 0")


@pytest.fixture(scope="module")
def made(postgres: Kept) -> Iterator[Databases]:
    """Two databases of this module."""
    names = [f"shroff_{uuid4().hex[:12]}" for _ in range(2)]
    urls = [urlsplit(postgres.address)._replace(path=f"/{name}").geturl() for name in names]
    found = Databases(urls)
    for name in names:
        found.ask(postgres.address, f"CREATE DATABASE {name}")
    yield found
    for name in names:
        found.ask(postgres.address, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def databases(made: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Databases]:
    """Both databases empty, the first one as the environment has it for the project; and the tools of the server."""
    for name, value in with_postgres_tools().items():
        monkeypatch.setenv(name, value)
    for name, url in zip(("BANK_STORE", "OTHER_STORE"), made.urls, strict=True):
        monkeypatch.setenv(name, f"{url.partition('://')[2]}?schema={TABLES}")
    yield made
    for url in made.urls:
        made.emptied(url)


def other(databases: Databases, *, again: bool = False) -> ServerTarget:
    return ServerTarget("postgresql://${OTHER_STORE}", again=again)


def settings_of(databases: Databases) -> dict[str, str]:
    return {"shroff.yaml": f"{FILES['shroff.yaml']}store: postgresql://${{BANK_STORE}}\n"}


@pytest.fixture
def bank(databases: Databases, tmp_path: Path) -> Bank:
    found = Bank(tmp_path / "bank", settings_of(databases))
    found.pay(payment())
    return found


def backed_up(bank: Bank | app.Project, place: Path, key: bytes | None = None) -> None:
    context = (bank.project if isinstance(bank, Bank) else bank).context
    with writer_of(context, vault(place, key)) as writer:
        assert (point := writer.create()) is not None
        assert point.is_full


@pytest.mark.parametrize(
    "key", [pytest.param(None, id="plain", marks=pytest.mark.long), pytest.param(KEY, id="encrypted")]
)
def test_a_log_in_a_server_is_restored_into_another_database(bank, databases, tmp_path, monkeypatch, key):
    bank.post.failing = [OSError("the server went away")]
    bank.tell(steps=2)
    assert [letter.state for letter in bank.letters()] == [OPEN]
    backed_up(bank, tmp_path / "vault", key)
    bank.pay(payment("p-2", card="c-2"))
    backed_up(bank, tmp_path / "vault", key)
    known = receipts(bank.folder)
    password = databases.password.encode()
    stored = b"".join(path.read_bytes() for path in (tmp_path / "vault").rglob("*") if path.is_file())
    assert password not in stored
    pieces = (vault(tmp_path / "vault", key).get(piece) for piece in vault(tmp_path / "vault", key).pieces())
    assert not [piece for piece in pieces if password in piece]
    assert verified(vault(tmp_path / "vault", key)).damaged == {}

    secrets = bank.folder / ".shroff"
    found = restore(vault(tmp_path / "vault", key), tmp_path / "again", secrets=secrets, into=other(databases))
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    again = Bank(tmp_path / "again", settings_of(databases))

    assert (found.number, found.held, found.last_seq) == (2, 1, known[-1][0])
    assert receipts(tmp_path / "again") == known
    assert again.project.verify().mismatches == 0
    assert {(letter.state, letter.reason) for letter in again.letters()} == {(UNKNOWN, IN_DOUBT)}
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
        paying.join(1)  # nothing comes
        yield from dump_tools.dumped(*args)

    paying = Thread(target=lambda: bank.pay(payment("as it begins")))
    monkeypatch.setattr(postgres_dump, "dumped", dumped)
    monkeypatch.setattr(BackupWriter, "_scan", scan)
    with writer_of(bank.project.context, vault(tmp_path / "vault")) as writer:
        point = writer.create()
    if paying.ident is not None:
        paying.join()
    known, dump = point.log.last_seq, point.log.dump
    found = restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases))

    assert paid == [1]
    assert (found.last_seq, dump.kind, dump.tables) == (known, "postgresql", TABLES)
    assert dump.made_by.startswith(PROGRAMS[0])
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    assert len(receipts(tmp_path / "again")) == 1


def test_what_is_not_empty_or_of_another_kind_is_refused(bank, databases, tmp_path):
    place = tmp_path / "vault"
    backed_up(bank, place)
    files = Bank(tmp_path / "files")
    files.pay(payment())
    with BackupWriter(files.project.context, vault(tmp_path / "of-files")) as writer:
        writer.create()
    for store, words in (
        (None, f"the schema {TABLES} is not empty"),
        ("postgresql://${OTHER_STORE}_x", f"the backup is of tables {TABLES} in postgresql"),
        ("mariadb://me@localhost/x", "a store is postgresql://, and this address is none"),
        (f"postgresql://me:literal@localhost/x?schema={TABLES}", "--store has a password"),
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
        writer_of(app.open_exactly(bank.folder).context, vault(place)),
    ):
        pass


def test_a_damaged_piece_leaves_the_database_empty(bank, databases, tmp_path):
    with writer_of(bank.project.context, vault(tmp_path / "vault")) as writer:
        name = writer.create().log.whole[-1]
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
        with writer_of(app.open_exactly(bank.folder).context, place) as writer:
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

    pieces = len(vault(tmp_path / "vault").point(1)[0].log.whole)
    for step, count in (("shroff.yaml", 1), ("piece", 1), ("piece", pieces - 1)):  # the tables stand before the rows
        assert killed(step, count) == signal.SIGKILL
        assert left() == (False, False)
    assert killed("log") == signal.SIGKILL
    assert left() == (True, False)
    with pytest.raises(StorageError, match="an interrupted restore left these tables"):
        store_adapter(url := f"postgresql://{os.environ['OTHER_STORE']}").is_there(url)
    assert refused("An interrupted restore left them: run the command again with --again")
    databases.ask(databases.urls[1], f"CREATE TABLE {TABLES}.mine (number BIGINT)")
    assert refused("but not mine: move these elsewhere and run the command again with --again", removes=True)
    databases.ask(databases.urls[1], f"DROP TABLE {TABLES}.mine")
    assert again(removes=True) == 1
    with pytest.raises(UsageError, match="Name an empty database with --store"):
        again(tmp_path / "more", removes=True)


def test_two_restores_into_one_database_do_not_run_beside_each_other(bank, databases, tmp_path):
    backed_up(bank, tmp_path / "vault")
    tool = restored_tool(vault(tmp_path / "vault").point(1)[0], bank.folder, other(databases).url, None)
    with tool.emptied(again=False), pytest.raises(LogBusyError, match="another restore into it is running"):
        restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases, again=True))
    assert restore(vault(tmp_path / "vault"), tmp_path / "again", into=other(databases)).number == 1


def as_of_version_1(databases: Databases) -> None:
    """Take back what the made-up migration did."""
    for sql in (
        f"ALTER TABLE {TABLES}.remarks DROP COLUMN note",
        f"DROP TABLE {TABLES}.noted",
        f"UPDATE {TABLES}.version SET number = 1",
    ):
        databases.ask(databases.urls[0], sql)


def test_tables_of_an_older_version_are_backed_up_and_migrated(bank, databases, tmp_path, monkeypatch, capfd):
    use_version_2(monkeypatch, tmp_path / "scripts")

    def migrate():
        return run(["-C", str(bank.folder), "migrate", "--apply", "--at", str(tmp_path / "vault")])

    assert run(["-C", str(bank.folder), "migrate"]) == 0
    assert "Tables of an older version." in capfd.readouterr().out
    tool = dump_tool_of(bank.project.context)
    with tool.alone():  # as while a worker of the older version runs
        with pytest.raises(LogBusyError):
            bank.project.log.open(read_only=False)
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
    databases.ask(databases.urls[0], f"UPDATE {TABLES}.version SET number = 99")

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
    known, names, (dump, _) = settings.read_text(), PROGRAMS, PROGRAMS
    fails = f"""test "$1" = --version && echo "{VERSION.format(99)}" && exit
        echo some; echo "$*" >"$0.arguments"; echo "no: $PGPASSWORD" >&2; exit 3"""
    old = program(tmp_path / "old", names, f"echo '{VERSION.format(9)}'")
    (tmp_path / "empty").mkdir()
    for folder, error, words in (
        (tmp_path / "empty", UsageError, rf"{dump} is not in .*Install .*'s client programs \(Debian: \w+-client"),
        (old, UsageError, "is older than the server at"),
        (program(tmp_path / "else", names, "echo mysqldump 8"), UsageError, "prints no version"),
        (program(tmp_path / "fails", names, fails), StorageError, rf"{dump} ended with 3: no: \*\*\*$"),
    ):
        settings.write_text(f"{known}backup: {{ to: '{tmp_path / 'vault'}', tools: '{folder}' }}\n")
        context = app.open_exactly(bank.folder).context
        with pytest.raises(error, match=words) as found, writer_of(context, vault(tmp_path / "vault")) as writer:
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
    assert "WAL archiving" in said
    for words in (["create"], ["list"], ["verify"], ["prune"]):
        assert run([*of_bank, *words, "--at", place]) == 0
    assert "full backup 1 of " in capfd.readouterr().out

    args = ["restore", str(tmp_path / "again"), "--from", place, "--store", other(databases).url]
    assert run([*args, "--secrets", str(bank.folder / ".shroff")]) == 0
    assert "Now set 'store' in" in capfd.readouterr().out
    assert databases.found(databases.urls[1])
