"""A damaged or unreadable file of `.shroff` is one finding of `doctor`, with what to do; it hides no other."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shroff.cli.main import run
from shroff.errors import os_words, rights
from shroff.monitoring.doctor import WRONG, look_at_folder
from shroff.services import project as app
from shroff.services.rules.files import NoRuleError
from tests.support.projects import FILES

LINE = '{"payment":{"id":"p1","at":"2026-03-01T12:00:00Z","card":"c1","amount":"5.00"}}\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a log."""
    folder = tmp_path_factory.mktemp("made")
    for name, text in {**FILES, "p.jsonl": LINE}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "shroff.yaml").write_text(FILES["shroff.yaml"] + "backup: ./backups\n")
    assert run(["-C", str(folder), "ingest", str(folder / "p.jsonl")]) == 0
    return folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bank"
    shutil.copytree(made, folder)
    return folder / ".shroff"


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def holds(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


@pytest.mark.parametrize(
    "name, damage, subject, words",
    [
        ("hash.key", holds(b"x"), "hash key", "holds no key. Restore it from your copy"),
        ("hash.key", holds(b""), "hash key", "holds no key. Restore it from your copy"),
        ("hash.key", folder, "hash key", "hash.key cannot be read: Is a directory. Move that directory away"),
        ("backup.json", folder, "backup", "backup.json cannot be read: Is a directory. Move that directory away"),
        ("backup.json", holds(b"{"), "backup", "name an empty place for backups"),
        ("log.db", folder, "log", "log.db is a directory. Move it away, and restore the log from a backup"),
    ],
)  # fmt: skip
def test_doctor_names_a_damaged_file_and_goes_on(state, name, damage, subject, words):
    if name == "hash.key":
        (state / name).touch(0o600)
    damage(state / name)
    findings = app.open(state.parent).health.doctor()

    (found,) = (finding for finding in findings if finding.subject == subject and finding.state == WRONG)
    assert words in found.words
    assert found.words.count(f"{state / name}") <= 1
    assert {finding.subject for finding in findings} >= {"project", "folder", "backup", "log"}


def test_a_service_does_not_begin_with_a_damaged_key(state, capsys):
    (state / "hash.key").write_bytes(b"x")

    assert run(["-C", str(state.parent), "serve", "--port", "0"]) == 3
    assert "holds no key" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["log.db", "log.lock", "edit.lock", "hash.key", "snapshots/1.snapshot"])
def test_doctor_names_a_file_of_another_user_its_owner_and_the_command(state, name, monkeypatch):
    (state / "snapshots").mkdir(exist_ok=True)
    path = state / name
    path.touch(0o600)
    owner, look = path.stat().st_uid, os.access
    monkeypatch.setattr(os, "access", lambda asked, mode: Path(asked) != path and look(asked, mode))
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    found = look_at_folder("folder", state)

    assert (found.state, found.words) == (WRONG, f"{path} cannot be opened by this user")
    assert found.cure == f"{path} belongs to user {owner}. Run as root: chown {owner + 1} {path}."


def test_what_the_system_refuses_is_told_with_the_owner_and_a_full_disk_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda asked, _mode: Path(asked) != tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
    refused, full = PermissionError(errno.EACCES, "Permission denied"), OSError(errno.ENOSPC, "No space left")

    assert os_words(refused, tmp_path / "a").startswith(f"{tmp_path}/a: Permission denied. {tmp_path} belongs to user")
    assert os_words(full, "a", " cannot be written") == "a cannot be written: No space left. Make room and try again"
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid)
    unreadable = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "a"))
    assert os_words(unreadable, "a", " cannot be read").endswith(f"Permission denied. Run: chmod u+rwX {tmp_path}")


def test_a_rule_is_restored_while_a_rule_file_has_errors(tmp_path):
    folder = tmp_path / "bank"
    project, _ = app.make_project(folder, "payments")
    project.ingest([folder / "examples" / "payment.json"])
    (version,) = project.call("rules history", rule="card_testing").versions
    cards = folder / "rules" / "cards.yaml"
    cards.write_text(
        cards.read_text().replace("when: card.payments_10m >= 5 and", "when: card.payments_10m >> 5 and", 1)
    )
    project = app.open(folder)

    assert project.call("rules history", rule="card_testing").versions == [version]
    assert "card_testing" in [look.id for look in project.rule_looks.list_all()]
    with pytest.raises(NoRuleError, match="there never was"):
        project.rule_looks.one("unknown")
    project.call("rules back", rule="card_testing", seq=version.seq, reason="it was broken")
    assert "payments_10m >= 5" in cards.read_text()


def test_a_cure_for_rights_names_the_file_or_its_folder_and_none_further_up(tmp_path, monkeypatch):
    file = tmp_path / "bank" / "log.db"
    file.parent.mkdir()
    file.touch()
    refused = set[Path]()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) not in refused)

    refused.add(tmp_path)  # such as /home of somebody
    assert rights(file).startswith(f"Make sure that {file.parent} is a folder that this user")

    refused.add(file.parent)
    assert rights(file) == rights(file.parent / "new" / "log.lock") == f"Run: chmod u+rwX {file.parent}"
