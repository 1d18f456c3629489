"""`shroff migrate` under SIGKILL at any statement: each set of tables old or new, and the next call does the rest."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shroff.services import project as app
from shroff.services.backups import restoration
from shroff.services.backups.migration import plan
from shroff.services.backups.retention import verified
from tests.services.test_migrating import applied, old_project, vault, versions
from tests.support.effort import times
from tests.support.next_version import use_version_2

from .harness import contents, in_a_process

KILLS = times(3, 50)  # of each


class Killing:
    """Ends the process by SIGKILL at a statement of any connection; counts them where it is to end at none."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.count, self._connect = at, 0, sqlite3.connect

    def __call__(self, *args: Any, **options: Any) -> sqlite3.Connection:
        connection = self._connect(*args, **options)
        connection.set_trace_callback(self._traced)
        return connection

    def _traced(self, _statement: str) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def ids(folder: Path) -> list[Any]:
    """What finds records in frames by their ids."""
    with closing(sqlite3.connect(folder / ".shroff" / "log.db")) as shell:
        return shell.execute("SELECT * FROM id_parts ORDER BY part").fetchall()


@pytest.mark.slow
def test_kills_of_a_migration_leave_old_or_new_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [old_project(tmp_path / f"bank-{number}") for number in range(KILLS)]
    whole = old_project(tmp_path / "whole")
    use_version_2(monkeypatch, tmp_path / "scripts")
    monkeypatch.setattr(restoration, "damage_of", lambda *_: "")  # the documents of these rows are made up
    counting = Killing()
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", counting)
        applied(whole, tmp_path / "whole-vault")
    wanted, everything = versions(tmp_path / "whole"), contents(tmp_path / "whole")
    draw = random.Random(9)
    for number, bank in enumerate(folders):
        place = tmp_path / f"vault-{number}"
        switch = Killing(draw.randrange(1, counting.count + 1))

        def work(switch: Killing = switch, bank: Path = bank, place: Path = place) -> None:
            sqlite3.connect = switch  # of the child alone
            applied(bank, place)

        in_a_process(work)
        found = versions(bank)
        assert all(found.get(part, 0) in {0, 1, new} for part, new in wanted.items())
        actions = {item.action for item in plan(app.open_exactly(bank).context)}
        assert (applied(bank, place) is None) == (actions == {"none"})
        assert ids(bank) == ids(tmp_path / "whole")
        assert (versions(bank), contents(bank)) == (wanted, everything)
        assert verified(vault(place)).damaged == {}
