"""What processes that are killed while they write leave behind: named, and gone with a later write."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from shroff import config
from shroff.models.registry import Registry
from shroff.runtime.atomic_files import unfinished_files
from shroff.services import project as app
from tests.recovery.test_inbox import ended, forked
from tests.support.learnable import make_project
from tests.support.linear import put

HOURS_AGO_S = time.time() - 2 * 3_600


def killed_while_it_writes(path: Path) -> Path:
    """What is left where a process is killed before a text stands in the place of another."""

    def work() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            config.write_text(path, "half\n")

    assert ended(forked(work)) == signal.SIGKILL
    (left,) = unfinished_files(path.parent, path.name)
    return left


@pytest.mark.slow
def test_the_next_write_of_the_same_file_removes_what_is_an_hour_old(tmp_path: Path):
    policy, other, own = tmp_path / "policy.yaml", tmp_path / "events.yaml", tmp_path / "policy.yaml.20260101"
    own.write_text("mine")
    old, fresh, of_another = killed_while_it_writes(policy), "", killed_while_it_writes(other)
    os.utime(old, (HOURS_AGO_S, HOURS_AGO_S))
    os.utime(of_another, (HOURS_AGO_S, HOURS_AGO_S))
    config.write_text(policy, "whole\n")
    fresh = killed_while_it_writes(policy)
    config.write_text(policy, "again\n")

    assert not old.exists()
    assert fresh.exists()
    assert of_another.exists()
    assert (policy.read_text(), own.read_text()) == ("again\n", "mine")


def test_doctor_names_what_is_left(tmp_path: Path):
    bank = make_project(tmp_path / "bank")
    put(Registry(bank / "models"), "m-1", {"payment.amount": 1.0})
    left = [killed_while_it_writes(bank / name) for name in ("policy.yaml", "models/in_force.json")]
    (folder := bank / "models" / ".m-2.abcdefgh").mkdir()
    assert [item for item in app.open(bank).health.doctor() if item.subject == "litter"] == [], "it may be written now"
    for path in (*left, folder):
        os.utime(path, (HOURS_AGO_S, HOURS_AGO_S))

    files, models = (item for item in app.open(bank).health.doctor() if item.subject == "litter")

    assert files.words.startswith("2 unfinished files of killed processes: ")
    assert all(path.name in files.words for path in left)
    assert models.words == "1 unfinished model of killed processes in models: .m-2.abcdefgh"
    assert "removes those older than a day" in models.cure
