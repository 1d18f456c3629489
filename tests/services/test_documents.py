"""Small documents of state: changed together or not at all, by kind, and gone with their removal."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import StorageError
from shroff.runtime.values import FrozenStruct
from shroff.services import project as app
from shroff.services.documents import Documents


class Wish(FrozenStruct):
    words: str


class Count(FrozenStruct):
    number: int


@pytest.fixture
def documents(tmp_path) -> Documents:
    app.make_project(tmp_path / "bank", "blank")
    return app.open_exactly(tmp_path / "bank").part(Documents)


def replace_all(documents: Documents, wishes: dict[str, object]) -> None:
    with documents.edit("a", Wish) as stored:
        stored.clear()
        stored.update(wishes)


def make_log(folder: Path) -> None:
    project = app.open_exactly(folder)
    project.outside.prepare_state()
    project.log.open(read_only=False).close()


def test_documents_are_stored_by_kind_and_name_and_survive_the_process(documents, tmp_path):
    with documents.edit("a", Wish) as wishes:
        wishes.update({"1": Wish("one"), "2": Wish("two"), "3": Wish("three")})
    with documents.edit("b", Wish) as wishes:
        wishes["1"] = Wish("other")
    with documents.edit("a", Wish) as wishes:
        del wishes["1"], wishes["2"]
        wishes["2"] = Wish("two again")
    again = app.open_exactly(tmp_path / "bank").part(Documents)

    assert list(again.read("a", Wish).items()) == [("3", Wish("three")), ("2", Wish("two again"))]
    assert again.read("b", Wish) == {"1": Wish("other")}
    assert again.read("c", Wish) == {}


def test_reading_makes_no_log_and_no_table(documents, tmp_path):
    assert documents.read("a", Wish) == {}
    log = tmp_path / "bank" / ".shroff" / "log.db"
    assert not log.exists()

    make_log(tmp_path / "bank")
    assert documents.read("a", Wish) == {}
    with closing(sqlite3.connect(log)) as connection:
        assert not connection.execute("SELECT name FROM sqlite_master WHERE name IN ('documents', 'users')").fetchall()


def test_a_change_that_fails_half_way_changes_nothing(documents, tmp_path):
    with documents.edit("a", Wish) as wishes:
        wishes["1"] = Wish("one")
    with closing(sqlite3.connect(tmp_path / "bank" / ".shroff" / "log.db")) as connection, connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON documents WHEN NEW.name = '3' "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )

    with pytest.raises(StorageError):
        replace_all(documents, {"2": Wish("two"), "3": Wish("three")})
    with pytest.raises(TypeError):
        replace_all(documents, {"2": object()})
    assert documents.read("a", Wish) == {"1": Wish("one")}


def test_a_damaged_document_is_named(documents, tmp_path):
    with documents.edit("a", Wish) as wishes:
        wishes["1"] = Wish("one")
    with closing(sqlite3.connect(tmp_path / "bank" / ".shroff" / "log.db")) as connection, connection:
        connection.execute("UPDATE documents SET body = '{'")

    with pytest.raises(StorageError, match="document 1 of kind a cannot be read"):
        documents.read("a", Wish)


def test_no_edit_of_two_processes_is_lost(documents, tmp_path):
    """Each adds one to a number 20 times."""
    with documents.edit("count", Count) as counts:
        counts["n"] = Count(0)
    code = "import sys; from tests.services.test_documents import add; add(sys.argv[1])"
    folder = str(tmp_path / "bank")
    processes = [subprocess.Popen([sys.executable, "-c", code, folder]) for _ in range(2)]

    assert [process.wait() for process in processes] == [0, 0]
    assert documents.read("count", Count) == {"n": Count(40)}


def add(folder: str) -> None:
    documents = app.open_exactly(Path(folder)).part(Documents)
    for _ in range(20):
        with documents.edit("count", Count) as counts:
            counts["n"] = Count(counts["n"].number + 1)


@pytest.mark.parametrize("has_table", [True, False])
def test_a_backup_has_the_documents_and_one_without_their_table_restores(documents, tmp_path, has_table):
    bank, vault = tmp_path / "bank", tmp_path / "vault"
    if has_table:
        with documents.edit("a", Wish) as wishes:
            wishes["1"] = Wish("one")
    else:
        make_log(bank)
    assert run(["-C", str(bank), "backup", "create", "--at", str(vault)]) == 0
    with documents.edit("a", Wish) as wishes:
        wishes["2"] = Wish("after the backup")
    restored = tmp_path / "restored"
    assert run(["restore", str(restored), "--from", str(vault), "--secrets", str(bank / ".shroff")]) == 0
    again = app.open_exactly(restored).part(Documents)

    assert again.read("a", Wish) == ({"1": Wish("one")} if has_table else {})
    with again.edit("a", Wish) as wishes:
        wishes["3"] = Wish("new")
    assert "3" in again.read("a", Wish)
