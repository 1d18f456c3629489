"""The key of hashed fields: made once and as a whole, and never silently another one."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shroff import config
from shroff.cli.main import run
from shroff.config import ProjectPaths
from shroff.errors import StorageError
from shroff.events.hash_keys import hasher
from shroff.monitoring.doctor import Finding, look_at_key
from shroff.services import project as app
from tests.support.log_memory_parts import quarantined
from tests.support.projects import FILES

HASHED = FILES["events.yaml"].replace("card: text?", "card: text? hashed")
LINE = '{"id":"%s","at":"2026-03-01T12:00:00Z","card":"4111111111111111","amount":"5.00"}\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    for name, text in {**FILES, "events.yaml": HASHED}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "one.jsonl").write_text(LINE % "1")
    (folder / "two.jsonl").write_text(LINE % "2")
    return folder


def ingest(folder: Path, name: str) -> int:
    return run(["-C", str(folder), "ingest", str(folder / name), "--as", "payment"])


def test_a_key_is_for_its_owner_only_and_stays(tmp_path):
    places = ProjectPaths(tmp_path)
    first = hasher(places)("4111111111111111")

    assert stat.S_IMODE(places.hash_key.stat().st_mode) == 0o600
    assert hasher(places)("4111111111111111") == first
    assert [path.name for path in places.state.iterdir()] == ["hash.key"]


def test_a_stop_while_the_key_is_written_leaves_none(tmp_path, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(config.os, "fsync", stop)
        with pytest.raises(KeyboardInterrupt):
            hasher(ProjectPaths(tmp_path))("x")

    assert not ProjectPaths(tmp_path).hash_key.exists()
    assert hasher(ProjectPaths(tmp_path))("x").startswith("hashed:")


def test_what_a_kill_leaves_beside_the_key_goes_an_hour_later(tmp_path, monkeypatch):
    places = ProjectPaths(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        hasher(places)("x")
    (left,) = (path for path in places.state.iterdir() if path != places.hash_key)
    hasher(places)("x")
    assert left.exists(), "another process may be making it"
    os.utime(left, (1, 1))
    hasher(places)("x")

    assert not left.exists()
    assert places.hash_key.exists()


def test_of_two_processes_that_make_the_key_the_first_one_holds(tmp_path, monkeypatch):
    places, link = ProjectPaths(tmp_path), os.link

    def late(source, target):
        Path(target).write_text("ab" * 32 + "\n")
        link(source, target)

    monkeypatch.setattr(config.os, "link", late)
    hasher(places)("x")

    assert places.hash_key.read_text() == "ab" * 32 + "\n"


def test_a_key_is_made_where_the_file_system_has_no_links(tmp_path, monkeypatch):
    def unable(_source, _target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(config.os, "link", unable)
    hasher(ProjectPaths(tmp_path))("x")

    assert [path.name for path in ProjectPaths(tmp_path).state.iterdir()] == ["hash.key"]


@pytest.mark.parametrize("content", [b"", b"zz\n", b"ab\n", b"\xff\xfe", "schlüssel".encode()])
def test_a_file_that_holds_no_key_is_a_clear_error(tmp_path, content):
    places = ProjectPaths(tmp_path)
    places.state.mkdir()
    places.hash_key.write_bytes(content)

    with pytest.raises(StorageError, match=r"hash.key holds no key. Restore it from your copy"):
        hasher(places)("x")


def test_a_key_that_cannot_be_read_is_a_clear_error(tmp_path):
    ProjectPaths(tmp_path).hash_key.mkdir(parents=True)

    with pytest.raises(StorageError, match="cannot be read"):
        hasher(ProjectPaths(tmp_path))("x")


def test_a_key_that_a_full_disk_cannot_take_is_told_with_what_to_do(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(config.os, "fsync", full)
    with pytest.raises(StorageError, match=r"hash.key cannot be written: No space left on device. Make room"):
        hasher(ProjectPaths(tmp_path))("x")


def test_a_lost_key_is_not_replaced(project, capsys):
    assert ingest(project, "one.jsonl") == 0
    key = project / ".shroff" / "hash.key"
    kept = key.read_text()
    key.unlink()
    capsys.readouterr()

    assert ingest(project, "two.jsonl") != 0
    assert "Restore it from your copy" in capsys.readouterr().err
    assert run(["-C", str(project), "doctor"]) == 1
    assert f"WRONG  hash key        {key} is missing" in capsys.readouterr().out
    assert not key.exists()
    key.write_text(kept)
    assert ingest(project, "two.jsonl") == 0


def test_a_project_that_hashes_from_now_on_gets_a_key(project):
    (project / "events.yaml").write_text(FILES["events.yaml"])
    assert ingest(project, "one.jsonl") == 0
    (project / "shroff.yaml").write_text("shroff: 1\nname: renamed\nmoney: EUR\n")
    with app.open_exactly(project).log.writing():
        pass
    (project / "events.yaml").write_text(
        FILES["events.yaml"].replace("amount: money }", "amount: money, iban: text? hashed }")
    )

    assert ingest(project, "two.jsonl") == 0
    assert (project / ".shroff" / "hash.key").exists()


def test_a_key_is_there_before_the_log_says_that_values_are_hashed(project):
    (project / "empty.jsonl").write_text("")
    assert ingest(project, "empty.jsonl") == 0

    assert (project / ".shroff" / "hash.key").exists()


def test_lines_of_a_file_whose_name_is_not_utf8_are_taken_and_refused_like_others(project):
    name = os.fsdecode(b"b\xff.jsonl")
    (project / name).write_text(LINE % "1" + LINE.replace("5.00", "bad") % "2")

    assert ingest(project, name) == 4
    with app.open_exactly(project).log.reading() as log:
        assert [entry.source for _, entry in quarantined(log)] == ["b\\xff.jsonl"]


@pytest.mark.parametrize("is_hashed", [True, False])
def test_doctor_names_a_key_that_others_can_read_whether_or_not_a_field_is_hashed(tmp_path, is_hashed):
    """It signs customers' links and seals the audit log as well."""
    key = tmp_path / "hash.key"
    key.write_text("ab" * 32)
    field = SimpleNamespace(shape=SimpleNamespace(is_hashed=is_hashed))
    types = {"payment": SimpleNamespace(fields=[field])}
    definitions: Any = SimpleNamespace(events=SimpleNamespace(types=types))
    found = []
    for mode in (0o600, 0o644):
        key.chmod(mode)
        found += look_at_key(key, definitions, ())

    assert [item.state for item in found] == (["ok", "wrong"] if is_hashed else ["wrong"])
    assert found[-1] == Finding("hash key", "wrong", f"{key} can be read by others", f"chmod 600 {key}")
