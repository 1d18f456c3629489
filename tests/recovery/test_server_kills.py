"""Backups, restores and migrations of a log in a server, killed at random moments: the old state or the new one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable

import pytest

from shroff.errors import UsageError
from shroff.services import project as app
from shroff.services.backups.restoration import restore
from shroff.services.backups.retention import verified
from tests.services.test_backups import receipts, vault
from tests.services.test_migrating import applied, versions
from tests.services.test_server_backups import as_of_version_1, backed_up, bank, databases, made, other
from tests.support.effort import times
from tests.support.next_version import use_version_2
from tests.support.telling import payment

from .harness import ended, forked

__all__ = ["bank", "databases", "made"]

pytestmark = pytest.mark.slow
smoke = ("test_kills_of_a_migration_leave_old_or_new_tables",)
KILLS = times(3, 100)


def killed(work: Callable[[], object], within_s: float, draw: random.Random) -> bool:
    """Do something in a process that is killed within a time; gives whether it was, before its end."""
    child = forked(work)
    time.sleep(draw.uniform(0, within_s))
    os.kill(child, signal.SIGKILL)
    return ended(child) == signal.SIGKILL


def took_s(work: Callable[[], object]) -> float:
    """How long something takes in a process."""
    began = time.monotonic()
    assert ended(forked(work)) == 0
    return time.monotonic() - began


def report(record_property, counts: dict[str, int]) -> None:
    record_property("kills", counts)
    print(counts)


def test_kills_of_a_backup_leave_the_old_one_or_the_new_one(bank, databases, tmp_path, record_property):
    draw, place, found = random.Random(11), tmp_path / "vault", {"old": 0, "new": 0}
    bank.pay(*(payment(f"q-{number}") for number in range(50)))
    within_s = took_s(lambda: backed_up(app.open_exactly(bank.folder), place))
    for number in range(KILLS):
        (bank.folder / "rules" / "drawn.yaml").write_text(f"# {number}\n[]\n")
        before = vault(place).numbers()[-1]
        killed(lambda: backed_up(app.open_exactly(bank.folder), place), within_s, draw)
        after = vault(place).numbers()[-1]

        found["new" if after > before else "old"] += 1
        assert after in {before, before + 1}
    assert verified(vault(place)).damaged == {}
    backed_up(bank, place)
    restore(vault(place), tmp_path / "again", into=other(databases))
    assert (tmp_path / "again" / "rules" / "drawn.yaml").read_text() == f"# {KILLS - 1}\n[]\n"
    assert set(databases.found(databases.urls[1])) == set(databases.found(databases.urls[0]))
    report(record_property, found)


def test_kills_of_a_restore_leave_nothing_or_the_whole_project(bank, databases, tmp_path, monkeypatch, record_property):
    draw, place, folder = random.Random(12), tmp_path / "vault", tmp_path / "again"
    bank.pay(*(payment(f"q-{number}") for number in range(50)))
    known, found = receipts(bank.folder), {"nothing": 0, "tables without the folder": 0, "whole": 0}
    backed_up(bank, place)

    def restored(*, again=False):
        return restore(vault(place), folder, into=other(databases, again=again))

    within_s = took_s(restored)
    for _ in range(KILLS):
        shutil.rmtree(folder, ignore_errors=True)
        databases.emptied(databases.urls[1])
        killed(restored, within_s, draw)
        databases.wait_for_sessions(databases.urls[1])
        if folder.exists():
            found["whole"] += 1
        else:
            is_left = bool(databases.found(databases.urls[1]))
            try:
                restored()
                words = ""
            except UsageError as error:  # also of a program that had been sent everything, and ended after that look
                words = str(error)
                restored(again=True)
            assert "An interrupted restore left them: run the command again with --again" in words or not is_left
            found["tables without the folder" if words else "nothing"] += 1
        with monkeypatch.context() as there:
            there.setenv("BANK_STORE", os.environ["OTHER_STORE"])
            assert receipts(folder) == known
    assert sum(found.values()) == KILLS
    report(record_property, found)


def test_kills_of_a_migration_leave_old_or_new_tables(bank, databases, tmp_path, monkeypatch, record_property):
    draw, found, known = random.Random(13), {"old": 0, "new": 0}, receipts(bank.folder)
    use_version_2(monkeypatch, tmp_path / "scripts")
    within_s = took_s(lambda: applied(bank.folder, tmp_path / "timed"))
    wanted = versions(bank.folder)
    for number in range(KILLS):
        as_of_version_1(databases)
        (bank.folder / ".shroff" / "backup.json").unlink()
        place = tmp_path / f"vault-{number}"
        killed(lambda: applied(bank.folder, place), within_s, draw)  # noqa: B023 - the child runs at once
        databases.wait_for_sessions(databases.urls[0])
        databases.end_lease()
        now = versions(bank.folder)

        assert now in [wanted, wanted | {"log": 1}]
        found["new" if now == wanted else "old"] += 1
        assert (applied(bank.folder, place) is None) == (now == wanted)
        assert (versions(bank.folder), receipts(bank.folder)) == (wanted, known)
        assert verified(vault(place)).damaged == {}
    report(record_property, found)
