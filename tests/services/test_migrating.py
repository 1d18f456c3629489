"""`shroff migrate`: what it would do, a backup before, and what it refuses; also what an older program refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shroff.adapters.databases.sqlite_file import WriterLock
from shroff.adapters.lake.folder import FolderObjects
from shroff.adapters.log.sqlite import SqliteLog
from shroff.cli.main import run
from shroff.errors import DefinitionError, LogBusyError, StorageError
from shroff.people.audit_operations import VerifyAudit
from shroff.services import project as app
from shroff.services.backups.migration import KNOWN, apply, plan
from shroff.services.backups.restoration import restore
from shroff.services.backups.vault import Vault
from shroff.services.context import ProjectContext
from tests.support.log_rows import everything, payments
from tests.support.next_version import use_version_2


def versions(folder: Path) -> dict[str, int]:
    return {item.part: item.found for item in plan(app.open_exactly(folder).context)}


def old_project(folder: Path) -> Path:
    """A project whose log is of version 1, and people's tables of version 0."""
    app.make_project(folder, "payments")
    (folder / ".shroff").mkdir(exist_ok=True)
    with closing(SqliteLog(folder / ".shroff" / "log.db")) as log:
        log.append(everything(1))
    with shell(folder) as database:
        database.execute("CREATE TABLE people_version (number BIGINT NOT NULL)")
        database.execute("INSERT INTO people_version VALUES (0)")
        database.commit()
    return folder


@contextmanager
def shell(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / ".shroff" / "log.db")) as connection:
        yield connection


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of version 1, for a program of version 2."""
    made = old_project(tmp_path / "bank")
    use_version_2(monkeypatch, tmp_path / "scripts")
    return made


def vault(place: Path) -> Vault:
    return Vault(FolderObjects(str(place)))


def applied(folder: Path, place: Path) -> int | None:
    context = app.open_exactly(folder).context
    return apply(context, vault(place), plan(context))


def test_an_old_project_is_backed_up_and_migrated(old, tmp_path):
    assert versions(old) == {"log": 1, "people": 0}
    assert applied(old, tmp_path / "vault") == 1
    assert versions(old) == {"log": 2, "people": KNOWN["people"]}
    assert applied(old, tmp_path / "vault") is None, "nothing is due"
    assert vault(tmp_path / "vault").numbers() == [1]

    again = restore(vault(tmp_path / "vault"), tmp_path / "again").folder
    assert versions(again) == {"log": 1, "people": 0}


def test_a_lost_index_of_ids_is_made_again(old, tmp_path, capfd):
    applied(old, tmp_path / "vault")
    with closing(SqliteLog(old / ".shroff" / "log.db")) as log:
        log.append(payments(4, 300))
    assert run(["-C", str(old), "migrate"]) == 0
    assert "Nothing to migrate." in capfd.readouterr().out
    with shell(old) as database:
        database.executescript("DELETE FROM id_runs; DELETE FROM id_parts")
    assert run(["-C", str(old), "migrate"]) == 0
    assert "An index of the log is damaged." in capfd.readouterr().out
    assert run(["-C", str(old), "migrate", "--apply", "--at", str(tmp_path / "vault")]) == 0
    with closing(SqliteLog(old / ".shroff" / "log.db")) as log:
        assert (log.ids_lost(0), len(log.find("payment", ["p-4", "p-303"]))) == ("", 2)
    wrong_id(old)
    assert run(["-C", str(old), "migrate"]) == 0
    assert "Nothing to migrate." in capfd.readouterr().out
    with closing(SqliteLog(old / ".shroff" / "log.db", read_only=True)) as log:
        assert "migrate --apply --compare-ids --at" in log.ids_lost(0)
    assert run(["-C", str(old), "migrate", "--apply", "--compare-ids", "--at", str(tmp_path / "vault")]) == 0
    with closing(SqliteLog(old / ".shroff" / "log.db")) as log:
        assert (log.ids_lost(0), len(log.find("payment", ["p-4", "p-303"]))) == ("", 2)


def wrong_id(folder: Path) -> None:
    """Put another id in the place of one of the index, with sums that fit."""
    with closing(SqliteLog(folder / ".shroff" / "log.db")) as log:
        ((ids, places),) = log._id_checks._ids_of_frames(0, log.last_seq())
        wrong = {type: ["other" if id == "p-4" else id for id in of] for type, of in ids.items()}
        log._connection.transact(lambda: (log._index.clear(), log._index.add(wrong, places)))


@pytest.mark.parametrize("part", ["log", "people"])
def test_a_newer_store_is_refused_and_stays_as_it_is(old, tmp_path, part, capfd):
    applied(old, tmp_path / "first")
    newer = "PRAGMA user_version = 3" if part == "log" else "INSERT INTO people_version VALUES (99)"
    with shell(old) as database:
        database.execute(newer)
        database.commit()

    assert run(["-C", str(old), "migrate", "--plan"]) == 1
    assert "refuse" in capfd.readouterr().out
    assert run(["-C", str(old), "migrate", "--apply", "--at", str(tmp_path / "vault")]) == 3
    assert f"a newer shroff wrote these tables: .shroff/log.db: {part} version" in capfd.readouterr().err
    assert not (tmp_path / "vault").exists()
    with pytest.raises(StorageError, match=r"newer|Install the version of shroff that wrote them"):
        used(app.open_exactly(old).context)


def used(context: ProjectContext) -> None:
    """What each command does first: the log, and people."""
    with context.log.reading():
        pass
    app.Project(context).run(VerifyAudit())


def test_nothing_begins_while_a_worker_runs(old, tmp_path):
    log = old / ".shroff" / "log.db"
    lock = WriterLock(log.with_suffix(".lock"), guards=log)
    with pytest.raises(LogBusyError):
        applied(old, tmp_path / "vault")
    lock.release()

    assert not (tmp_path / "vault").exists()


def test_what_this_program_does_not_take_is_refused(old, tmp_path):
    (old / "rules" / "broken.yaml").write_text(
        "- id: x\n  on: payment\n  by: card\n  effect: review\n  when: no.such_feature > 1\n"
    )
    with pytest.raises(DefinitionError, match=r"no\.such_feature"):
        applied(old, tmp_path / "vault")
    (old / "rules" / "broken.yaml").unlink()
    (old / ".shroff" / "log.db").unlink()
    with shell(old) as database:
        database.execute("CREATE TABLE of_somebody_else (n)")
    with pytest.raises(StorageError, match="is a database, but not a log of shroff"):
        versions(old)


def test_the_command_shows_a_plan_and_does_it(old, tmp_path, capfd):
    assert run(["-C", str(old), "migrate"]) == 0
    assert "Tables of an older version." in capfd.readouterr().out
    assert run(["-C", str(old), "migrate", "--apply"]) == 2
    assert "does not say where its backups are" in capfd.readouterr().err
    assert run(["-C", str(old), "migrate", "--apply", "--at", str(tmp_path / "vault")]) == 0
    assert "Backup 1 made, tables migrated." in capfd.readouterr().out
    assert run(["-C", str(old), "migrate", "--plan", "--json"]) == 0
    assert '"action":"none"' in capfd.readouterr().out.replace(" ", "")
