"""Processes of jobs: how the work ends, and what becomes of jobs whose process is killed, cancelled or too slow."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread

import pytest

from shroff.errors import DefinitionError, TransientError, UsageError
from shroff.jobs import job as jobs
from shroff.people import keys, users
from shroff.people.access import RIGHTS, Right, Role
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.jobs import kinds, process
from shroff.services.jobs import worker as job_worker
from shroff.services.jobs.desk import JobDesk
from shroff.services.jobs.worker import JobWorker
from shroff.web import server
from tests.support.desks import ADMIN, Desks
from tests.support.patience import PATIENCE_S


@pytest.fixture
def desks(tmp_path) -> Iterator[Desks]:
    app.make_project(tmp_path / "bank", "blank")
    with ExitStack() as held:
        yield Desks(tmp_path / "bank", held)


# ---- the work, in this process


def broken(project, params, run):
    raise ZeroDivisionError("secret of a card")


def away(project, params, run):
    run.say("trying")
    raise TransientError("the server is away")


def wrong(project, params, run):
    raise UsageError("this project has no lake")


def slow(project, params, run):
    run.step("sleeping", 1, 2)
    time.sleep(30)  # it is ended


class MartsParams(kinds.JobParams, frozen=True):
    """Parameters of the kind of job that these tests replace."""

    full: bool = False


MARTS = kinds.JobKind("marts", MartsParams, "")


def well(project, params, run):
    assert project.context.who.name == ADMIN.name
    run.step("first", 0, 3)
    run.count(3)
    return {"due": run.due_ms, "full": params.full}


@pytest.mark.parametrize(
    ("work", "state", "why"),
    [
        (well, jobs.DONE, ""),
        (wrong, jobs.FAILED, "this project has no lake"),  # trying again is of no use
        (away, jobs.QUEUED, ""),
        (broken, jobs.QUEUED, ""),
        (slow, jobs.QUEUED, ""),
    ],
)
def test_how_the_work_ends_is_how_the_job_does(desks, monkeypatch, work, state, why):
    monkeypatch.setattr(process, "LOOK_S", 0.05)
    monkeypatch.setattr(process, "TELL_S", 0.05)
    desk = desks.open(now=True)
    id_ = desk.begin(ADMIN, "marts", {"full": True}, retries=1, timeout_ms=1_000 if work is slow else 60_000).id
    job = desk.claim()
    monkeypatch.setitem(kinds.KINDS, "marts", MARTS)
    monkeypatch.setattr(kinds.JobKind, "load", lambda self: work)
    began_ms = time.time_ns() // 1_000_000
    process.JobProcess(app.open_exactly(desks.folder), desk, job).work()
    found = desk.job(id_)
    assert (found.state, found.why) == (state, why)
    lines = " ".join(found.lines)
    assert "secret" not in lines
    if work is well:
        assert (found.step, found.done, found.total, found.lines) == ("first", 3, 3, ("first",))
        assert found.result == f'{{"due":{found.due_ms},"full":true}}'
    if state == jobs.QUEUED:
        words = {away: "the server is away", broken: "ZeroDivisionError", slow: "it took longer than 1s"}
        assert words[work] in lines
        assert found.begins_ms > began_ms + 20_000


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("disabled", "the user ann that asked for this was disabled"),
        ("removed", "the user ann that asked for this was disabled, removed"),
        ("key", "the key ci that asked for this was disabled, removed or revoked"),
        ("role", "this needs the permission run:jobs, which the role viewer does not have"),
        ("other role", ""),
    ],
)
def test_a_job_begins_with_the_rights_that_its_user_or_key_still_has(desks, monkeypatch, way, why):
    begun = []
    desk, project = desks.open(now=True), app.open_exactly(desks.folder)
    monkeypatch.setattr(kinds.JobKind, "load", lambda self: lambda project, params, run: begun.append(project) or {})
    monkeypatch.setattr(MartsParams, "rights", (Right.PROMOTE_MODELS,))
    monkeypatch.setitem(kinds.KINDS, "marts", MARTS)
    with project.people.open() as people:
        users.add(people, ADMIN, "ben", Role.ADMIN)
        who = users.as_who(users.add(people, ADMIN, "ann", Role.ADMIN))
        if way == "key":
            who = keys.as_who(keys.create(people, who, "ci", Role.ADMIN)[0])
        id_ = desk.begin(who, "marts", {}).id
        if way in {"disabled", "key"}:
            users.disable(people, ADMIN, "ann")
        elif way == "removed":
            users.delete(people, ADMIN, "ann")
        else:
            users.set_role(people, ADMIN, "ann", Role.AUTHOR if way == "other role" else Role.VIEWER)
    process.JobProcess(project, desk, desk.claim()).work()

    assert (desk.job(id_).state, why in desk.job(id_).why) == (jobs.FAILED if why else jobs.DONE, True)
    assert [run.context.who.rights for run in begun] == ([] if why else [RIGHTS[Role.AUTHOR]])


@pytest.mark.parametrize("is_disabled", [True, False])
def test_a_job_that_runs_ends_with_the_rights_of_its_user(desks, monkeypatch, is_disabled):
    for name, value in {"LOOK_S": 0.02, "RENEW_MS": 0}.items():
        monkeypatch.setattr(process, name, value)
    desk, project = desks.open(now=True), app.open_exactly(desks.folder)
    with project.people.open() as people:
        users.add(people, ADMIN, "ben", Role.ADMIN)
        who = users.as_who(users.add(people, ADMIN, "ann", Role.ADMIN))

        def work(project, params, run):
            if is_disabled:
                users.disable(people, ADMIN, "ann")
            else:
                users.set_role(people, ADMIN, "ann", Role.VIEWER)
            until_s = time.monotonic() + PATIENCE_S
            while not left and time.monotonic() < until_s:  # it is ended
                time.sleep(0.02)

        left = []  # a signal that comes while garbage is collected is lost: the job is then left after a grace
        monkeypatch.setattr(kinds.JobKind, "load", lambda self: work)
        id_ = desk.begin(who, "marts", {}, retries=1).id
        process.JobProcess(project, desk, desk.claim(), left.append).work()

    assert desk.job(id_).state == jobs.FAILED
    assert ("was disabled" if is_disabled else "the role viewer does not have") in desk.job(id_).why


def test_a_process_that_lost_its_lease_leaves_and_changes_nothing(desks, monkeypatch):
    monkeypatch.setattr(process, "LOOK_S", 0.02)
    monkeypatch.setattr(process, "TELL_S", 0.0)
    left = []

    def late(project, params, run):
        run.step("late")
        until_s = time.monotonic() + 120
        while not left and time.monotonic() < until_s:
            time.sleep(0.02)
        return {}

    desk = desks.open(now=True)
    id_ = desk.begin(ADMIN, "marts", {}).id
    job = desk.claim()
    desk.end(id_, 1, lambda job, now_ms: jobs.lost(job, now_ms, "gone"))
    assert desk.claim().attempt == 2
    monkeypatch.setattr(kinds.JobKind, "load", lambda self: late)
    process.JobProcess(app.open_exactly(desks.folder), desk, job, left.append).work()
    assert left == [1]
    assert (desk.job(id_).state, desk.job(id_).attempt, desk.job(id_).step) == (jobs.RUNNING, 2, "")


def test_a_process_that_stood_still_renews_its_lease_where_nobody_took_the_job(desks, monkeypatch):
    for name, value in {"LOOK_S": 0.02, "LEASE_MS": 0, "RENEW_MS": 0}.items():  # as if it stood still before each look
        monkeypatch.setattr(process, name, value)
    left = []

    def work(project, params, run):
        time.sleep(0.2)  # for some looks
        return {}

    desk = desks.open(now=True)
    id_ = desk.begin(ADMIN, "marts", {}).id
    monkeypatch.setattr(kinds.JobKind, "load", lambda self: work)
    process.JobProcess(app.open_exactly(desks.folder), desk, desk.claim(), left.append).work()
    assert (left, desk.job(id_).state) == ([], jobs.DONE)


def test_a_mistake_in_schedules_yaml_keeps_no_other_job_from_running(desks, monkeypatch):
    told = []
    desk = desks.open(now=True)
    desks.schedule("a: { kind: martz, cron: '* * * * *' }")
    id_ = desk.begin(ADMIN, "marts", {}).id
    runner = JobWorker(desk, lambda job: (sys.executable, "-c", "raise SystemExit(3)"), told.append)
    found = until(desk, runner, id_, lambda job: job.lines)
    runner.end_all()
    assert "its process ended with 3" in found.lines[0]
    assert len(told) == 1
    assert "martz" in told[0]
    with pytest.raises(DefinitionError):
        desk.states()


def test_a_job_of_who_may_not_sign_in_any_more_never_begins(desks):
    desk = desks.open(now=True)
    id_ = desk.begin(replace(ADMIN, kind="user", id="user-1", name="ann"), "marts", {}).id
    assert not JobWorker(desk, lambda _: ("never",), print, lambda name: name != "ann").step()

    found = desk.job(id_)
    assert (found.state, found.why) == (jobs.FAILED, "the user ann that asked for this may not sign in any more")


@pytest.mark.parametrize("is_own", [True, False])
def test_a_running_job_of_who_may_not_sign_in_any_more_ends(is_own, desks, monkeypatch):
    disabled, desk = {"bob"}, desks.open(now=True)
    monkeypatch.setattr(job_worker, "RENEW_MS", 0)
    command = (sys.executable, "-c", "import time; time.sleep(600)")
    runner, other = (JobWorker(desk, lambda _: command, print, lambda name: name not in disabled) for _ in range(2))
    id_ = desk.begin(replace(ADMIN, kind="user", id="user-1", name="ann"), "marts", {}).id
    until(desk, runner, id_, lambda job: job.state == jobs.RUNNING)
    (process,) = runner._running.values()
    disabled.add("ann")
    (runner if is_own else other).step()
    found = desk.job(id_)
    if is_own:
        process.wait(PATIENCE_S)
    runner.end_all()

    assert (found.state, found.why) == (jobs.FAILED, "the user ann that asked for this may not sign in any more")
    assert process.returncode == -signal.SIGTERM


def test_a_job_for_which_no_process_begins_waits_without_a_lost_attempt(desks):
    def unreachable(name: str) -> bool:
        raise TransientError("the home store is away")

    no_program = str(desks.folder / "no-program")
    desk = desks.open()
    id_ = desk.begin(replace(ADMIN, kind="user", id="user-1", name="ann"), "marts", {}).id
    for signs_in, why in ((unreachable, "the home store is away"), (lambda _: True, "No such file")):
        runner = JobWorker(desk, lambda _: (no_program,), print, signs_in)
        for _ in range(4):
            with pytest.raises((TransientError, FileNotFoundError)):
                runner.step()
            found = desk.job(id_)
            assert (found.state, found.attempt, why in found.lines[-1]) == (jobs.QUEUED, 0, True)
            assert desk.claim() is None, "others come first"
            desks.now_ms += 30_000
    assert desk.claim().attempt == 1


# ---- processes of their own

SCRIPT = """
import sys, time
from pathlib import Path
from shroff.services.jobs import kinds
from shroff.services.jobs import process
from shroff.services.jobs import worker as job_worker
class NapParams(kinds.JobParams, frozen=True):
    pass
def nap(project, params, run):
    mark = project.context.paths.folder / "naps"
    with mark.open("a") as file:
        file.write("x")
    run.step("sleeping", 1, 2)
    for _ in range(400 if len(mark.read_text()) == 1 else 0):
        time.sleep(0.05)
    return {"naps": len(mark.read_text())}
kinds.KINDS["nap"] = kinds.JobKind("nap", NapParams, "__main__:nap")
if __name__ == "__main__":
    sys.exit(process.main())
"""


def worker(desks: Desks, desk: JobDesk, tmp_path: Path) -> JobWorker:
    script = tmp_path / "nap.py"
    script.write_text(SCRIPT)
    return JobWorker(
        desk, lambda job: (sys.executable, str(script), str(desks.folder), job.id, str(job.attempt)), print
    )


def until(desk: JobDesk, worker: JobWorker, id_: str, check) -> jobs.Job:
    end_s = time.monotonic() + 120
    while not check(desk.job(id_)):
        worker.step()
        assert time.monotonic() < end_s, desk.job(id_)
        time.sleep(0.05)
    return desk.job(id_)


@pytest.mark.slow
def test_a_second_ctrl_c_of_a_service_leaves_no_process_of_a_job_which_begins_again(desks, tmp_path, monkeypatch):
    left = list[int]()
    add_nap(monkeypatch)
    monkeypatch.setattr(os, "_exit", left.append)
    desk = desks.open(now=True)
    runner = worker(desks, desk, tmp_path)
    id_ = desk.begin(ADMIN, "nap", {}).id
    until(desk, runner, id_, lambda job: job.step)
    (process,) = runner._running.values()
    handle = server._ended(lambda: None)
    handle()
    assert (process.poll(), left) == (None, [])
    handle()
    process.wait(PATIENCE_S)  # nobody looks after it any more
    waiting = desk.job(id_)
    again = worker(desks, desk, tmp_path)
    found = until(desk, again, id_, lambda job: not job.is_open)
    again.end_all()

    assert (left, waiting.state, waiting.attempt) == ([130], jobs.QUEUED, 1)
    assert (found.state, found.result) == (jobs.DONE, '{"naps":2}')


def test_a_second_ctrl_c_leaves_no_process_that_starts_meanwhile(desks, tmp_path, monkeypatch):
    started, told = Event(), Event()
    popen = job_worker.subprocess.Popen

    def slow(*args, **options):
        process = popen(*args, **options)
        started.set()
        told.wait(0.3)
        return process

    monkeypatch.setattr(job_worker.subprocess, "Popen", slow)
    desk = desks.open(now=True)
    runner = JobWorker(desk, lambda _: (sys.executable, "-c", "import time; time.sleep(600)"), print)
    desk.begin(ADMIN, "marts", {})
    thread = Thread(target=runner.step)
    thread.start()
    assert started.wait(PATIENCE_S)
    job_worker.terminate_all()
    told.set()
    thread.join()
    (process,) = runner._running.values()

    assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_a_second_ctrl_c_exits_whatever_fails(monkeypatch):
    left = list[int]()
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr(server, "terminate_all", lambda: 1 / 0)
    handle = server._ended(lambda: None)
    handle()
    with pytest.raises(ZeroDivisionError):
        handle()

    assert left == [130]


@pytest.mark.slow
def test_a_job_that_is_killed_begins_again_with_whoever_is_left_and_is_done_once(desks, tmp_path, monkeypatch):
    """
    worker A ── begins ── kill -9, of it and of its process
    worker B ─────────────────────── the lease ends ── begins ── done
    """
    add_nap(monkeypatch)
    desk, other = desks.open(now=True), desks.open(now=True)
    first = worker(desks, desk, tmp_path)
    id_ = desk.begin(ADMIN, "nap", {}).id
    until(desk, first, id_, lambda job: job.step)
    (killed,) = first._running.values()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    now_ms = other._now_ms()  # it stands still here: the machine may, for longer than a lease lasts
    other._now_ms = lambda: now_ms
    second = worker(desks, other, tmp_path)
    second.step()
    assert other.job(id_).state == jobs.RUNNING  # the lease holds
    other._now_ms = lambda: now_ms + 2 * jobs.LEASE_MS
    second.step()
    assert other.job(id_).attempt == 2
    other._now_ms = lambda: time.time_ns() // 1_000_000
    found = until(other, second, id_, lambda job: not job.is_open)
    second.end_all()
    assert (found.state, found.arguments, found.result) == (jobs.DONE, {}, '{"naps":2}')


@pytest.mark.slow
def test_a_job_that_runs_is_cancelled_and_one_whose_runner_ends_waits_to_begin_again(desks, tmp_path, monkeypatch):
    add_nap(monkeypatch)
    monkeypatch.setattr(job_worker, "END_S", PATIENCE_S)
    desk = desks.open(now=True)
    runner = worker(desks, desk, tmp_path)
    id_ = desk.begin(ADMIN, "nap", {}).id
    until(desk, runner, id_, lambda job: job.step)
    runner.end_all()
    waiting = desk.job(id_)
    assert (waiting.state, waiting.attempt) == (jobs.QUEUED, 1)
    assert "interrupted" in waiting.lines[-1]
    (desks.folder / "naps").unlink()
    until(desk, runner, id_, lambda job: job.attempt == 2 and job.step)
    desk.cancel(ADMIN, id_)
    assert until(desk, runner, id_, lambda job: not job.is_open).state == jobs.CANCELLED
    runner.end_all()


def add_nap(monkeypatch: pytest.MonkeyPatch) -> None:
    nap = kinds.JobKind("nap", MartsParams, "os:getpid")
    monkeypatch.setitem(kinds.KINDS, "nap", nap)
