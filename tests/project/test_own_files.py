"""Files that somebody else's folder has in the place of its own: links out of it, links to secrets, devices, pipes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shroff import config
from shroff.cli.main import run
from shroff.errors import ShroffError
from shroff.models.registry import Registry
from shroff.project import lists
from shroff.runtime.atomic_files import own
from shroff.services import project as app
from shroff.services.backups.project_files import files

SECRET = "TOP_OF_SECRETS"
DEFINITIONS = (*config.files_of(Path()), *(f"{name}/zz{ending}" for name, ending in config._FOLDERS))
OTHERS = ("marts/zz.sql", "marts/zz.yaml", "warehouse/zz.sql", "drafts/zz.yaml", "models/m-1/manifest.json")
EACH = ("policy.yaml", "lists/zz.csv")  # with each way to lead elsewhere; the others with one
ELSEWHERE = ("outside", "chain", "hash.key", "secrets", "environ", "gone", "pipe", "device")


@pytest.fixture
def bank(tmp_path, monkeypatch):
    """A project with secrets of its own, and a foreign file beside it."""
    monkeypatch.setenv("CI_TOKEN", SECRET)
    app.make_project(tmp_path / "bank", "payments")
    folder = tmp_path / "bank"
    for path in (tmp_path / "foreign", folder / ".shroff" / "hash.key", folder / "secrets" / "db"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{SECRET},{SECRET}: [\n{SECRET}\n")
    return folder


def put(folder: Path, name: str, what: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
        return path
    if what == "chain":
        (folder / "between").symlink_to("../foreign")
    path.symlink_to(
        {
            "outside": folder.parent / "foreign",
            "chain": folder / "between",
            "hash.key": folder / ".shroff" / "hash.key",
            "secrets": folder / "secrets" / "db",
            "environ": Path("/proc/self/environ"),
            "gone": folder / "nothing",
            "device": Path("/dev/zero"),
        }[what]
    )
    return path


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name in DEFINITIONS for what in (ELSEWHERE if name in EACH else ["outside"])]
)
def test_a_project_file_that_leads_elsewhere_is_named_and_none_of_its_text_is_read(bank, capsys, name, what):
    put(bank, name, what)
    status = run(["-C", str(bank), "check"])
    told = "".join(capsys.readouterr())

    assert status in {1, 2}
    assert name in told
    assert "plain file" in told
    assert SECRET not in told


def test_a_folder_of_project_files_that_leads_elsewhere_is_named_once(bank, capsys):
    (bank.parent / "others").mkdir()
    (bank.parent / "others" / "zz.yaml").write_text(SECRET)
    for name in ("rules", "notices"):
        (bank / name).rename(bank / f"old-{name}")
        (bank / name).symlink_to(bank.parent / "others")
    assert run(["-C", str(bank), "check"]) == 1
    told = "".join(capsys.readouterr())

    assert [told.count(f"{name}: this link leads out") for name in ("rules", "notices")] == [1, 1]
    assert SECRET not in told


@pytest.mark.parametrize("what", ["outside", "pipe"])
@pytest.mark.parametrize("name", OTHERS)
def test_other_files_that_lead_elsewhere_are_not_read_either(bank, name, what):
    put(bank, name, what)
    project = app.open_exactly(bank)
    room = name.partition("/")[0]
    calls = {
        "drafts": lambda: (project.drafts.all(), project.backtest(rules=bank / "drafts")),
        "models": lambda: Registry(bank / "models").read("m-1"),
    }
    with pytest.raises(ShroffError) as found:
        calls.get(room, lambda: config.read_sql(bank, room))()
    assert SECRET not in str(found.value)
    assert Path(name).name in str(found.value)


def test_links_inside_a_project_are_followed_as_kubernetes_makes_them(bank):
    """bank/rules/velocity.yaml -> ..data/velocity.yaml, ..data -> ..2026"""
    rules = bank / "rules"
    (rules / "..2026").mkdir()
    before = app.open_exactly(bank).definitions.versions
    for path in sorted(rules.glob("*.yaml")):
        path.rename(rules / "..2026" / path.name)
        path.symlink_to(f"..data/{path.name}")
    (rules / "..data").symlink_to("..2026")

    assert app.open_exactly(bank).definitions.versions == before


def test_a_backup_names_what_leads_elsewhere_and_does_not_carry_it(bank):
    outside = bank.parent / "others"
    outside.mkdir()
    (outside / "note.txt").write_text(SECRET)
    (bank / "docs").symlink_to(outside)
    (bank / "lists" / "leak.csv").symlink_to(bank.parent / "foreign")
    (bank / "examples" / "mine.txt").symlink_to(bank / "README.md")
    (bank / "examples" / "key.txt").symlink_to(bank / ".shroff" / "hash.key")
    (bank / ".shroff" / "drafts.json").symlink_to(bank.parent / "foreign")
    stored, named = files(bank, lambda _: False)

    assert not any(
        stat.S_ISREG((bank / item).stat().st_mode) and SECRET in (bank / item).read_text() for item in stored
    )
    assert {"docs", "lists/leak.csv", "examples/key.txt", ".shroff/drafts.json", ".shroff/hash.key"} <= {*named}
    assert "examples/mine.txt" in stored


def test_the_folder_of_the_log_may_be_elsewhere(bank):
    (bank / ".shroff").rename(bank.parent / "disk")
    (bank / ".shroff").symlink_to(bank.parent / "disk")
    (bank.parent / "disk" / "drafts.json").write_text("{}")

    assert ".shroff/drafts.json" in files(bank, lambda _: False)[0]


def test_nothing_is_written_through_a_link_that_leads_elsewhere(bank):
    project = app.open_exactly(bank)
    assert project.definitions
    foreign = bank.parent / "foreign"
    before = foreign.read_bytes()
    for name in ("lists/blocked_cards.csv", "policy.yaml", "rules/velocity.yaml", "models/in_force.json"):
        put(bank, name, "outside")
    for call in (
        lambda: project.lists.add("blocked_cards", lists.Entry("c-1")),
        lambda: project.rules.write("velocity.yaml", "rules: []\n", ""),
        lambda: own(bank, "models/in_force.json"),
        lambda: own(bank, "policy.yaml"),
    ):
        with pytest.raises(ShroffError):
            call()
    assert foreign.read_bytes() == before
