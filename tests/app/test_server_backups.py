"""Backups of a log in a database server, by the server's own programs: made, restored elsewhere, and refused."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from shroff.adapters.lake.folder import FolderObjects
from shroff.app import project as app
from shroff.app.backups.creating import BackupWriter
from shroff.app.backups.keeping import verified, writer_of
from shroff.app.backups.restoring import IN_DOUBT, ServerTarget, restore
from shroff.app.backups.server_logs import LOG
from shroff.app.backups.vault import Vault
from shroff.cli.main import run
from shroff.errors import StorageError, UsageError
from shroff.notices.store import OPEN, UNKNOWN
from tests.app.test_backups import KEY, receipts, vault
from tests.recovery.harness import in_a_process
from tests.support.kill import KillSwitch
from tests.support.telling import FILES, Bank, payment
from tools.servers.databases import with_postgres_tools
from tools.servers.keep import Kept

pytestmark = pytest.mark.slow
SCHEMA = "of_backups"


@pytest.fixture(scope="module")
def made(postgres: Kept) -> Iterator[tuple[str, str]]:
    """Two databases of this module."""
    names = [f"backups_{uuid4().hex[:12]}" for _ in range(2)]
    with psycopg.connect(postgres.address, autocommit=True) as shell:
        for one in names:
            shell.execute(f"CREATE DATABASE {one}")
        first, second = (urlsplit(postgres.address)._replace(path=f"/{one}").geturl() for one in names)
        yield first, second
        for one in names:
            shell.execute(f"DROP DATABASE {one} WITH (FORCE)")


@pytest.fixture
def databases(made: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Two empty databases, the first one as the environment has it for the project; and the tools of the server."""
    for name, value in with_postgres_tools().items():
        monkeypatch.setenv(name, value)
    for name, one in zip(("BANK_STORE", "OTHER_STORE"), made, strict=True):
        monkeypatch.setenv(name, f"{one.removeprefix('postgresql://')}?schema={SCHEMA}")
    yield made
    for one in made:
        emptied(one)


def emptied(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as shell:
        shell.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


OTHER = "postgresql://${OTHER_STORE}"
SETTINGS = {"shroff.yaml": f"{FILES['shroff.yaml']}store: postgresql://${{BANK_STORE}}\n"}


@pytest.fixture
def bank(databases: tuple[str, str], tmp_path: Path) -> Bank:
    found = Bank(tmp_path / "bank", SETTINGS)
    found.pay(payment())
    return found


def backed_up(bank: Bank, place: Path, key: bytes | None = None) -> None:
    with writer_of(bank.project.opened, vault(place, key)) as writer:
        assert (point := writer.create()) is not None
        assert point.is_full


def tables(url: str) -> int:
    with psycopg.connect(url) as shell:
        sql = "SELECT count(*) FROM pg_tables WHERE schemaname = %s"
        (found,) = shell.execute(sql, (SCHEMA,)).fetchone() or (0,)
        return int(found)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_log_in_postgresql_is_restored_into_another_database(bank, databases, tmp_path, monkeypatch, key):
    bank.post.failing = [OSError("the server went away")]
    bank.tell(steps=2)
    assert [one.state for one in bank.letters()] == [OPEN]
    backed_up(bank, tmp_path / "vault", key)
    bank.pay(payment("p-2", card="c-2"))
    backed_up(bank, tmp_path / "vault", key)
    known = receipts(bank.folder)
    password = urlsplit(databases[0]).password.encode()
    stored = b"".join(one.read_bytes() for one in (tmp_path / "vault").rglob("*") if one.is_file())
    assert password not in stored
    pieces = (vault(tmp_path / "vault", key).get(one) for one in vault(tmp_path / "vault", key).pieces())
    assert not [one for one in pieces if password in one]
    assert verified(vault(tmp_path / "vault", key)).damaged == {}

    found = restore(
        vault(tmp_path / "vault", key), tmp_path / "again", secrets=bank.folder / ".shroff", into=ServerTarget(OTHER)
    )
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    again = Bank(tmp_path / "again", SETTINGS)

    assert (found.number, found.held, found.last_seq) == (2, 1, known[-1][0])
    assert receipts(tmp_path / "again") == known
    assert again.project.verify().mismatches == 0
    assert {(one.state, one.reason) for one in again.letters()} == {(UNKNOWN, IN_DOUBT)}
    again.pay(payment("p-3"))
    assert len(receipts(tmp_path / "again")) == 3


def test_a_backup_is_of_the_moment_at_which_it_began(bank, tmp_path, monkeypatch):
    tool, paid = BackupWriter._scan, []

    def scan(writer, files):
        bank.pay(payment("meanwhile"))
        paid.append(1)
        return tool(writer, files)

    monkeypatch.setattr(BackupWriter, "_scan", scan)
    with writer_of(bank.project.opened, vault(tmp_path / "vault")) as writer:
        point = writer.create()
    known = point.databases[LOG].last_seq
    found = restore(vault(tmp_path / "vault"), tmp_path / "again", into=ServerTarget(OTHER))

    assert paid == [1]
    assert (found.last_seq, point.databases[LOG].dump.kind, point.databases[LOG].dump.tables) == (
        known,
        "postgresql",
        SCHEMA,
    )
    assert "pg_dump" in point.databases[LOG].dump.made_by
    monkeypatch.setenv("BANK_STORE", os.environ["OTHER_STORE"])
    assert len(receipts(tmp_path / "again")) == 1


def test_what_is_not_empty_or_of_another_kind_is_refused(bank, databases, tmp_path, monkeypatch):
    place = tmp_path / "vault"
    backed_up(bank, place)
    files = Bank(tmp_path / "files")
    files.pay(payment())
    with BackupWriter(files.project.opened, vault(tmp_path / "of-files")) as writer:
        writer.create()
    for store, words in (
        (None, f"the schema {SCHEMA} is not empty"),
        (f"{OTHER}_x", "the backup is of tables of_backups in postgresql"),
        ("mariadb://${OTHER_STORE}", "does not copy"),
        (f"postgresql://me:literal@localhost/x?schema={SCHEMA}", "--store has a password"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            restore(vault(place), tmp_path / "again", into=ServerTarget(store))
        assert "DROP" not in str(refused.value), "the log in use"
        assert not (tmp_path / "again").exists()
    with pytest.raises(UsageError, match="needs no --store"):
        restore(vault(tmp_path / "of-files"), tmp_path / "again", into=ServerTarget(OTHER))
    assert tables(databases[1]) == 0
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
        restore(vault(tmp_path / "vault"), tmp_path / "again", into=ServerTarget(OTHER))
    assert tables(databases[1]) == 0
    assert not (tmp_path / "again").exists()


def wait_for_sessions(url: str) -> None:
    """Wait until nobody else is in a database."""
    with psycopg.connect(url, autocommit=True) as shell:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        while shell.execute(sql).fetchone() != (0,):
            time.sleep(0.01)


def test_a_killed_backup_leaves_the_one_before(bank, tmp_path):
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
    assert restore(vault(tmp_path / "vault"), tmp_path / "again", into=ServerTarget(OTHER)).number == 2


def test_a_killed_restore_leaves_nothing_or_says_what_to_remove(bank, databases, tmp_path, monkeypatch):
    monkeypatch.setattr("shroff.adapters.databases.dump_tools.PIECE_BYTES", 4_096)
    bank.pay(*(payment(f"q-{number}") for number in range(100)))
    backed_up(bank, tmp_path / "vault")

    def killed(step, count=1):
        switch = KillSwitch(step, count)
        place, folder = vault(tmp_path / "vault"), tmp_path / "again"
        told = {"on_step": switch, "progress": lambda _: switch("piece")}
        return in_a_process(lambda: restore(place, folder, into=ServerTarget(OTHER), **told))

    pieces = len(vault(tmp_path / "vault").point(1)[0].databases[LOG].whole)
    for step, count in (("shroff.yaml", 1), ("piece", 1), ("piece", pieces - 1)):  # the tables stand before the rows
        assert killed(step, count) == signal.SIGKILL
        wait_for_sessions(databases[1])
        assert (tables(databases[1]), (tmp_path / "again").exists()) == (0, False)
    assert killed(LOG) == signal.SIGKILL
    assert (tables(databases[1]) > 0, (tmp_path / "again").exists()) == (True, False)
    with pytest.raises(UsageError, match=f"DROP SCHEMA {SCHEMA} CASCADE"):
        restore(vault(tmp_path / "vault"), tmp_path / "again", into=ServerTarget(OTHER))
    emptied(databases[1])
    assert restore(vault(tmp_path / "vault"), tmp_path / "again", into=ServerTarget(OTHER)).number == 1
    with pytest.raises(UsageError, match="Name an empty database with --store"):
        restore(vault(tmp_path / "vault"), tmp_path / "more", into=ServerTarget(OTHER))


def program(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("pg_dump", "pg_restore"):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def test_a_program_that_is_missing_old_or_fails_is_named_with_its_cure(bank, tmp_path, databases):
    password = urlsplit(databases[0]).password
    settings = bank.folder / "shroff.yaml"
    known = settings.read_text()
    fails = """test "$1" = --version && echo "pg_dump (PostgreSQL) 99.1" && exit
        echo some; echo "$*" >"$0.arguments"; echo "no: $PGPASSWORD" >&2; exit 3"""
    (tmp_path / "empty").mkdir()
    for folder, error, words in (
        (tmp_path / "empty", UsageError, r"pg_dump is not in .*Install PostgreSQL's client programs"),
        (program(tmp_path / "old", "echo 'pg_dump (PostgreSQL) 9.6'"), UsageError, "is older than the server at"),
        (program(tmp_path / "fails", fails), StorageError, r"pg_dump ended with 3: no: \*\*\*$"),
    ):
        settings.write_text(f"{known}backup: {{ to: '{tmp_path / 'vault'}', tools: '{folder}' }}\n")
        opened = app.open_exactly(bank.folder).opened
        with pytest.raises(error, match=words) as found, writer_of(opened, vault(tmp_path / "vault")) as writer:
            writer.create()
        assert password not in str(found.value)
        assert vault(tmp_path / "vault").numbers() == []
    words = (tmp_path / "fails" / "pg_dump.arguments").read_text()
    assert f"--schema={SCHEMA}" in words
    assert password not in words


def test_the_commands_back_up_and_restore_a_log_in_postgresql(bank, databases, tmp_path, capfd):
    place, of_bank = str(tmp_path / "vault"), ["-C", str(bank.folder), "backup"]
    assert run([*of_bank, "create", "--follow", "--at", place]) == 2
    said = capfd.readouterr().err
    assert "--follow ships the changes of a log in a file" in said
    assert "WAL archiving" in said
    for words in (["create"], ["list"], ["verify"], ["prune"]):
        assert run([*of_bank, *words, "--at", place]) == 0
    assert "full backup 1 of " in capfd.readouterr().out

    args = ["restore", str(tmp_path / "again"), "--from", place, "--store", OTHER]
    assert run([*args, "--secrets", str(bank.folder / ".shroff")]) == 0
    assert "Now set 'store' in" in capfd.readouterr().out
    assert tables(databases[1]) > 0
