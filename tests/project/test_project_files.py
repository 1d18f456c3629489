"""Project files that are not UTF-8: each is a mistake with its place, and the others are looked at as well."""

from __future__ import annotations

import json
import os
import stat

import pytest

from shroff import config
from shroff.adapters.mailer.folder import FolderMailer
from shroff.cli.main import run
from shroff.notices.mailer import Mail
from shroff.people.audit import note_head
from shroff.services import project as app
from tests.support.projects import FILES


@pytest.fixture
def bank(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def errors(bank, capsys, code):
    assert run(["-C", str(bank), "check", "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    return [(error["file"], error["line"], error["column"], error["message"]) for error in document["errors"]]


def test_check_names_the_first_byte_that_is_no_utf8_and_goes_on(bank, capsys):
    rules = "# für alle\n# caf\xe9\n".encode("latin-1") + FILES["rules/large.yaml"].encode()
    (bank / "rules" / "large.yaml").write_bytes(rules)
    (bank / "features.yaml").write_text("card:\n  x: cout(payment) over 1h\n")
    found = errors(bank, capsys, 1)

    words = "this file is not UTF-8: the byte 0xFC here is not a character."
    assert ("rules/large.yaml", 1, 4, words) in found
    assert [file for file, *_ in found] == ["features.yaml", "rules/large.yaml"]


def test_the_column_counts_characters_and_the_line_any_line_end(bank, capsys):
    (bank / "shroff.yaml").write_bytes(
        "shroff: 1\r\nname: ü small \xff\r\nmoney: EUR\r\n".encode("latin-1").replace(b"\xfc", "ü".encode())
    )

    assert [place[:3] for place in errors(bank, capsys, 1)] == [("shroff.yaml", 2, 15)]


def test_a_file_in_utf16_is_one_mistake(bank, capsys):
    (bank / "events.yaml").write_bytes(FILES["events.yaml"].encode("utf-16"))

    assert [place[:3] for place in errors(bank, capsys, 1)] == [("events.yaml", 1, 1)]


def test_people_see_the_line_and_other_commands_say_the_same(bank, capsys):
    (bank / "shroff.yaml").write_bytes(b"shroff: 1\nname: caf\xe9\nmoney: EUR\n")
    assert run(["-C", str(bank), "check"]) == 1
    checked = capsys.readouterr().out
    (bank / "p.jsonl").write_text("")
    assert run(["-C", str(bank), "ingest", str(bank / "p.jsonl")]) == 2
    words = "shroff.yaml:2:10: this file is not UTF-8: the byte 0xE9 here is not a character."

    assert words in checked
    assert words in capsys.readouterr().err
    assert "    name: caf\ufffd\n             ^\nSave it as UTF-8." in checked


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rules/velocity.yml", "rules/velocity.yaml"),
        ("rules/Fast.YAML", "rules/Fast.yaml"),
        ("lists/blocked.CSV", "lists/blocked.csv"),
        ("notices/mail.yml", "notices/mail.yaml"),
        ("model.yml", "model.yaml"),
        ("Policy.yaml", "policy.yaml"),
    ],
)
def test_a_file_that_is_not_read_because_of_its_name_is_a_mistake(bank, capsys, name, meant):
    (bank / name).parent.mkdir(exist_ok=True)
    (bank / name).write_text("")

    assert errors(bank, capsys, 1) == [(name, 0, 0, f"this file is not read: its name is not {meant}.")]
    (bank / "p.jsonl").write_text("")
    assert run(["-C", str(bank), "ingest", str(bank / "p.jsonl")]) == 2
    assert run(["-C", str(bank), "check"]) == 1
    assert f"Rename it to {meant}, or move it out of the project." in capsys.readouterr().out


def test_a_folder_in_the_place_of_a_file_is_a_mistake(bank, capsys):
    (bank / "policy.yaml").mkdir()

    words = "this is a folder; a project has a file with this name."
    assert errors(bank, capsys, 1) == [("policy.yaml", 0, 0, words)]


def test_what_may_be_meant_as_a_project_file_is_a_warning(bank, capsys):
    (bank / "rules" / "old").mkdir()
    (bank / "rules" / "old" / "large.yaml").write_text("")
    (bank / "feature.yaml").write_text("")
    for name in ("docker-compose.yaml", "README.md", ".features.yaml", "rules/notes.txt", "rules/.large.yml"):
        (bank / name).write_text("")

    assert run(["-C", str(bank), "check", "--json"]) == 0
    found = {warning["file"]: warning["hint"] for warning in json.loads(capsys.readouterr().out)["warnings"]}
    assert found.pop("feature.yaml") == "Did you mean features.yaml?"
    assert found.pop("rules/old").startswith("Move the files to rules/")
    assert not [name for name in found if name != "rules/large.yaml"]


def test_line_ends_do_not_matter(bank):
    (bank / "shroff.yaml").write_bytes(b"a\r\nb\rc\n")
    problems = []

    assert config.read_files(bank, problems)["shroff.yaml"] == "a\nb\nc\n"
    assert problems == []


def test_what_the_program_keeps_is_not_for_everybody_on_the_machine(bank):
    before = os.umask(0)
    try:
        use(bank, "p1")
        assert open_to_others(bank / ".shroff") == {}

        kept = [bank / ".shroff", *(bank / ".shroff").rglob("*")]
        for path in kept:  # as a copy may leave it
            path.chmod(path.stat().st_mode | 0o005)
        use(bank, "p2")
        assert open_to_others(bank / ".shroff") == {}
        assert {path.name for path in kept} >= MADE
    finally:
        os.umask(before)


MADE = {"snapshots", "mail", "log.db", "log.lock", "edit.lock", "hash.key", "audit.head"}


def use(bank, id_):
    """Run commands that write something of each kind."""
    event = {"id": id_, "at": "2026-03-01T12:00:00Z", "card": "c", "amount": "500.00"}
    (bank / "in.jsonl").write_text(json.dumps(event) + "\n{}\n")
    folder = ["-C", str(bank)]
    assert run([*folder, "ingest", str(bank / "in.jsonl"), "--as", "payment"]) == 4
    assert run([*folder, "snapshot"]) == 0
    (bank / "lists").mkdir(exist_ok=True)
    (bank / "lists" / "blocked.csv").write_text("value,note,added_by,expires_at\n")
    assert run([*folder, "lists", "add", "blocked", id_]) == 0
    project = app.open(bank)
    project.log.hasher("a value")
    with project.people.open():
        note_head(project.context.paths, 7, b"hash")
    FolderMailer(project.context.paths.mail).send(Mail(id_, "a@b.example", ("c@d.example",), b"text"))


def open_to_others(folder):
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}
    return {str(path): oct(mode) for path, mode in modes.items() if mode & 0o027}


def test_some_files_are_read_without_listing_the_folders_of_the_others(bank, monkeypatch):
    (bank / "notices").mkdir(exist_ok=True)
    (bank / "notices" / "night.yaml").write_text("channel: mail\n")
    listed = []
    monkeypatch.setattr(os, "scandir", lambda folder, scan=os.scandir: listed.append(folder) or scan(folder))

    assert config.read_files(bank, [], ("notices/n", "calls.yaml")) == {"notices/night.yaml": "channel: mail\n"}
    assert config.read_files(bank, [], ("calls.yaml",)) == {}
    assert set(listed) == {bank, bank / "notices"}
