"""Promotions beside a process that writes, and SIGKILL on either side: each is in force once, from one place on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from shroff.errors import UsageError
from shroff.models.in_force import FILE, read_in_force
from shroff.models.registry import Registry
from shroff.services import project as app
from shroff.services.models.deployment import Deployment
from shroff.services.writer.requests import WriterRequests
from tests.support import forks
from tests.support.kill import KillSwitch
from tests.support.trained import train
from tools.servers.process import wait_until

from .harness import TRIED_STEPS
from .test_inbox import SHROFF, bank, begun, ended, events, forked, ingest, is_whole  # noqa: F401 (two are fixtures)

MODELS = ("m-1", "m-2", "m-3")


@pytest.fixture(name="scored")
def _scored(bank: Path) -> Path:  # noqa: F811 (the fixture)
    """The bank with three models, of which the first is in force, and thresholds for their scores."""
    for number, id_ in enumerate(MODELS):
        train(Registry(bank / "models"), id_, ["payment.amount", "card.payments_1h"], seed=number)
    policy = (bank / "policy.yaml").read_text(encoding="utf-8")
    cuts = "payment:\n  score: { review_at: 0.5, decline_at: 0.9 }\n"
    (bank / "policy.yaml").write_text(policy.replace("payment:\n", cuts, 1), encoding="utf-8")
    (bank / "model.yaml").unlink()  # these models were judged by nobody, so no gate is asked
    assert app.open(bank).models.promote("m-1").in_force
    return bank


def put_in_force(change: Callable[[], Deployment]) -> None:
    done = change()
    assert done.in_force, done


def models_of(project: Path) -> list[str]:
    """The ids of the models in the order in which they scored decisions, each stretch once."""
    found: list[str] = []
    with app.open(project).log.reading() as log:
        for rows in log.decisions.after():
            for row in rows:
                model = msgspec.json.decode(row.document)["versions"]["model"]
                if not found or found[-1] != model:
                    found.append(model)
    return found


def controls(project: Path) -> int:
    with app.open(project).log.reading() as log:
        assert log.inbox.pending() == []
        return len(log.controls())


@pytest.mark.slow
def test_promotions_beside_an_ingest_are_taken_up_at_places_of_the_log(scored: Path, events: Path):  # noqa: F811 - a fixture
    writer = begun(scored, events)
    opened = app.open(scored)
    for step in (
        partial(opened.models.promote, "m-2"),
        partial(opened.models.shadow, "m-1"),
        partial(opened.models.promote, "m-3"),
        partial(opened.models.rollback),
    ):
        put_in_force(step)

    assert ended(writer) == 0
    shown = iter(["", "m-1", "m-2", "m-3", "m-2"])  # between two batches several may come, and no event see the first
    assert all(model in shown for model in models_of(scored)), models_of(scored)
    assert controls(scored) == 6
    assert is_whole(scored, events)


@pytest.mark.slow
def test_a_writer_that_is_killed_at_any_step_puts_a_promotion_in_force_once(scored: Path, events: Path):  # noqa: F811 - a fixture
    counts = random.Random(70)
    kills = 0
    for number, step in enumerate(TRIED_STEPS):
        writer = begun(scored, events, KillSwitch(step, counts.randrange(1, 4)))
        change = partial(app.open(scored).models.promote, MODELS[(number + 1) % 3])
        asker = forked(lambda change=change: put_in_force(change))
        kills += ended(writer) == signal.SIGKILL
        assert ended(asker) == 0
    ended(forked(lambda: ingest(scored, events)))

    assert kills > len(TRIED_STEPS) // 2
    assert controls(scored) == 2 + len(TRIED_STEPS)
    assert is_whole(scored, events)


def holds_the_log(program: subprocess.Popen[bytes], project: Path) -> bool:
    lock = project / ".shroff" / "log.lock"
    return lock.exists() and lock.read_text(encoding="ascii").strip() == str(forks.pid_of(program))


def killed_before_the_log(change: Callable[[], object]) -> None:
    """Run a change in a process that is killed between the file and the log."""

    def work() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(WriterRequests, "put_in_force", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
            change()

    assert ended(forked(work)) == signal.SIGKILL


def test_what_was_cut_off_between_file_and_log_is_finished_by_the_same_command(scored: Path):
    steps: list[tuple[str, Callable[[], Deployment]]] = [
        ("promoted", lambda: app.open(scored).models.promote("m-2")),
        ("in shadow", lambda: app.open(scored).models.shadow("m-1")),
        ("challenges", lambda: app.open(scored).models.challenge("m-3", 0.1, "card")),
        ("out of shadow", lambda: app.open(scored).models.shadow("m-1", stop=True)),
        ("no longer challenges", lambda: app.open(scored).models.unchallenge("m-3")),
        ("rolled back", lambda: app.open(scored).models.rollback(by="ann")),
        ("rolled back", lambda: app.open(scored).models.rollback(by="ann")),  # behind the first one rules alone decide
    ]
    for count, (what, change) in enumerate(steps, 3):
        killed_before_the_log(change)
        assert controls(scored) == count - 1
        text = (scored / FILE).read_text(encoding="utf-8")

        done = change()

        assert (done.what, done.in_force) == (what, True)
        assert (scored / FILE).read_text(encoding="utf-8") == text  # nothing is done twice
        assert controls(scored) == count
    assert done.before == "m-1"
    assert not done.champion
    with pytest.raises(UsageError, match="no model is active"):
        app.open(scored).models.rollback()


def test_of_promotions_at_once_each_follows_another_and_one_that_is_overtaken_is_told(
    scored: Path, monkeypatch: pytest.MonkeyPatch
):
    askers = [forked(lambda id_=id_: app.open(scored).models.promote(id_, by="ann")) for id_ in ("m-2", "m-3")]
    assert [ended(child) for child in askers] == [0, 0]
    first, second, third = champions_of(scored)
    assert (first, {second, third}) == ("m-1", {"m-2", "m-3"})

    put_in_force, again = WriterRequests.put_in_force, app.open(scored)

    def overtaken(self: WriterRequests, *given: object) -> str:
        monkeypatch.setattr(WriterRequests, "put_in_force", put_in_force)
        assert again.models.promote(second).in_force
        return put_in_force(self, *given)

    monkeypatch.setattr(WriterRequests, "put_in_force", overtaken)
    late = app.open(scored).models.promote("m-1")

    assert (late.champion, late.in_force) == ("m-1", False)
    assert "another command has changed the models since" in late.why_not
    assert champions_of(scored) == [first, second, third, "m-1", second]
    assert app.open(scored).verify().mismatches == 0


def champions_of(project: Path) -> list[str]:
    """All champions so far, the one in force last."""
    found = read_in_force((project / FILE).read_text(encoding="utf-8"), [])["payment"]
    assert found.champion is not None
    return [item.id for item in (*found.previous, found.champion)]


def test_a_promotion_that_was_cut_off_is_finished_beside_a_process_that_decides(scored: Path):
    command = [SHROFF, "-C", scored, "decide", "-", "--as", "payment"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        wait_until(lambda: holds_the_log(program, scored))
        killed_before_the_log(lambda: app.open(scored).models.promote("m-2"))

        done = app.open(scored).models.promote("m-2", by="ann")

        assert (done.in_force, done.champion) == (True, "m-2")
        program.communicate(timeout=120)
    with pytest.raises(UsageError, match="m-2 is already the champion"):
        app.open(scored).models.promote("m-2")


@pytest.mark.slow
def test_a_process_that_waits_for_input_scores_by_the_new_model_without_a_restart(scored: Path):
    program = subprocess.Popen(
        [SHROFF, "-C", scored, "decide", "-", "--as", "payment"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert program.stdin is not None
    assert program.stdout is not None
    payment = {"paid_at": "2026-11-01T00:00:00Z", "card": "c-odd", "merchant": "m", "amount": "1.00"}
    payment |= {"country": "DE", "channel": "web"}

    def model(id_: str) -> str:
        program.stdin.write(msgspec.json.encode({"payment_id": id_, **payment}) + b"\n")
        program.stdin.flush()
        found = msgspec.json.decode(program.stdout.readline())
        assert found["score"] is not None or not found["versions"]["model"]
        return str(found["versions"]["model"])

    def asked(*words: str) -> dict[str, object]:
        done = subprocess.run([SHROFF, "-C", scored, "models", *words, "--json"], capture_output=True, check=True)
        found: dict[str, object] = msgspec.json.decode(done.stdout)
        assert found["in_force"] is True
        return found

    with program:
        assert model("new-1") == "m-1"
        asked("promote", "m-2", "--by", "ann")
        assert model("new-2") == "m-2"
        asked("challenge", "m-3", "--share", "100%", "--of", "card")
        assert model("new-3") == "m-3"
        asked("rollback")
        asked("challenge", "m-3", "--stop")
        assert model("new-4") == "m-1"
        asked("rollback")
        assert model("new-5") == ""
        program.stdin.close()
        assert program.wait(timeout=120) == 0

    assert app.open(scored).verify().mismatches == 0
