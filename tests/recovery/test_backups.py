"""Backups under SIGKILL: an old state or a new one, and a lost disk that costs the tail at most."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from shroff.adapters.lake.folder import STEPS, FolderObjects
from shroff.people.audit_operations import VerifyAudit
from shroff.services import project as app
from shroff.services.backups.creation import BackupWriter
from shroff.services.backups.restoration import restore
from shroff.services.backups.retention import KeepRules, pruned, verified
from shroff.services.backups.vault import Vault
from tests.support.effort import times
from tests.support.forks import SHROFF
from tests.support.kill import KillSwitch

from .harness import contents, in_a_process, ingest_in_a_process, make_project, write_events

EVERY_S = 0.2
KILLS = times(6, 100)


def backed_up(project: Path, place: Path, switch: KillSwitch | None = None, *, with_tails: bool = False) -> None:
    """A full backup, or with a switch a tail; with tails, the project changes while the full one is made."""

    def on_step(step: str) -> None:
        if switch is not None:
            if with_tails and step == "named":
                (project / "rules" / "meanwhile.yaml").write_text(f"# {time.monotonic_ns()}\n[]\n")
            switch(step)

    with BackupWriter(app.open_exactly(project).context, Vault(FolderObjects(str(place), on_step=on_step))) as writer:
        writer.create(is_full=switch is None or with_tails, tail_every_s=0.0 if with_tails else None)


def vault(place: Path) -> Vault:
    return Vault(FolderObjects(str(place)))


@pytest.mark.slow
def test_a_lost_disk_costs_the_tail_at_most(tmp_path: Path) -> None:
    events, bank, place = write_events(tmp_path / "events.jsonl", 600, seed=5), tmp_path / "bank", tmp_path / "vault"
    whole, secrets = make_project(tmp_path / "whole"), tmp_path / "secrets"
    assert ingest_in_a_process(whole, events) == 0
    make_project(bank)
    first = tmp_path / "first.jsonl"
    first.write_bytes(b"\n".join(events.read_bytes().split(b"\n")[:100]) + b"\n")
    assert ingest_in_a_process(bank, first) == 0
    project = app.open_exactly(bank)
    project.log.hasher("a value")
    project.run(VerifyAudit())
    shutil.copytree(bank / ".shroff", secrets, ignore=lambda _, names: [name for name in names if name != "hash.key"])
    follower = subprocess.Popen(
        [SHROFF, "-C", bank, "backup", "create", "--follow", "--every", str(EVERY_S), "--at", place, "--json"],
        stdout=subprocess.PIPE,
    )
    assert follower.stdout is not None
    assert b'"kind": "full"' in follower.stdout.readline()
    assert ingest_in_a_process(bank, events, KillSwitch("after commit", 5)) == signal.SIGKILL
    assert b'"kind": "tail"' in follower.stdout.readline()
    follower.kill()
    follower.wait()
    follower.stdout.close()
    had = contents(bank)
    shutil.rmtree(bank)
    again = restore(vault(place), tmp_path / "again", secrets=secrets).folder

    kept, everything = contents(again), contents(whole)
    assert 0 < len(kept["decisions"]) <= len(had["decisions"])
    assert kept["decisions"] == had["decisions"][: len(kept["decisions"])]
    found = app.open_exactly(again)
    assert found.verify().mismatches == 0
    assert found.run(VerifyAudit()).ok
    assert ingest_in_a_process(again, events) == 0
    assert contents(again)["decisions"] == everything["decisions"]


@pytest.mark.slow
def test_kills_of_a_backup_leave_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    events, bank, place = write_events(tmp_path / "events.jsonl", 80, seed=6), tmp_path / "bank", tmp_path / "vault"
    make_project(bank)
    assert ingest_in_a_process(bank, events) == 0
    for count in (1, 2):  # of the first backup: with its label, with a piece
        switch = KillSwitch("named", count)
        assert in_a_process(lambda: backed_up(bank, place, switch)) == signal.SIGKILL  # noqa: B023 - the child runs at once
        assert vault(place).numbers() == []
    backed_up(bank, place)
    draw, tails = random.Random(7), 0
    for number in range(KILLS):
        with_tails = bool(number % 2)
        (bank / "rules" / "drawn.yaml").write_text(f"# {number}\n[]\n")
        before = vault(place).numbers()[-1]
        switch = KillSwitch(draw.choice(STEPS), count=draw.randrange(1, 16 if with_tails else 6))
        in_a_process(lambda: backed_up(bank, place, switch, with_tails=with_tails))  # noqa: B023 - the child runs at once
        after = vault(place).numbers()[-1]

        tails += max(after - before - 1, 0)
        assert before <= after <= (before + 16 if with_tails else before + 1)
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        folder = restore(vault(place), tmp_path / "again").folder
        rule = folder / "rules" / "drawn.yaml"
        assert after == before or rule.read_text() == f"# {number}\n[]\n"
        assert contents(folder) == contents(bank)
    assert tails or KILLS < 100
    assert verified(vault(place)).damaged == {}
    pruned(vault(place), KeepRules(0, 0, 0), time.time_ns() // 1_000_000)
    assert verified(vault(place)).damaged == {}


@pytest.mark.slow
def test_kills_of_a_restore_leave_nothing_or_the_whole_project(tmp_path: Path) -> None:
    events, bank, place = write_events(tmp_path / "events.jsonl", 80, seed=6), tmp_path / "bank", tmp_path / "vault"
    make_project(bank)
    assert ingest_in_a_process(bank, events) == 0
    backed_up(bank, place)
    steps = list[str]()
    expected = contents(restore(vault(place), tmp_path / "timed", on_step=steps.append).folder)
    draw, target = random.Random(8), tmp_path / "again"
    for _ in range(KILLS):
        switch = KillSwitch(draw.choice(steps))
        assert in_a_process(lambda: restore(vault(place), target, on_step=switch)) == signal.SIGKILL  # noqa: B023 - the child runs at once

        assert not target.exists()
    folder = restore(vault(place), target).folder
    assert contents(folder) == expected == contents(bank)
    assert not list(tmp_path.glob(".again*"))
