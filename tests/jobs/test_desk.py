"""Jobs of a project: each due time once, one of a kind at a time, and what becomes of one whose process is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from random import Random
from threading import Lock, Thread

import pytest

from shroff.errors import DefinitionError, NotAllowedError, UsageError
from shroff.jobs import job as jobs
from shroff.jobs.job import JobBusyError, NoJobError, ParamsError
from shroff.people.access import Role
from shroff.people.store import rows_of
from shroff.services import project as app
from shroff.services.jobs.desk import JobDesk
from shroff.services.jobs.kinds import kind_named
from tests.support.desks import ADMIN, START, Desks
from tests.support.webs import who

MINUTE = 60_000


@pytest.fixture
def desks(tmp_path) -> Iterator[Desks]:
    app.make_project(tmp_path / "bank", "blank")
    with ExitStack() as held:
        yield Desks(tmp_path / "bank", held)


def finish(desk: JobDesk, job: jobs.Job, state: str = jobs.DONE) -> None:
    desk.end(job.id, job.attempt, partial(jobs.ended, state=state))


# ---- due times


@pytest.mark.slow
def test_each_due_time_runs_once_however_many_look(desks, monkeypatch):
    monkeypatch.setattr(jobs, "LEASE_MS", 10**9)  # as if it were renewed
    desks.schedule("a: { kind: marts, cron: '* * * * *', overlap: queue, catch_up: all }\n"
                   "b: { kind: train, cron: '*/3 * * * *', overlap: queue, catch_up: all }\n")  # fmt: skip
    both = [desks.open() for _ in range(2)]
    for item in both:
        item.schedules()
        item.tick()  # from now on
    errors = []
    clock = Lock()

    def look(desk: JobDesk, seed: int) -> None:
        draw = Random(seed)
        try:
            for _ in range(25):
                with clock:  # or it would go back
                    desks.now_ms += draw.choice([0, 1, 20_000, 90_000])
                desk.tick()
                if (job := desk.claim()) is not None:
                    finish(desk, job)
        except Exception as error:  # noqa: BLE001 - told at the end
            errors.append(error)

    threads = [Thread(target=look, args=(desk, seed)) for seed, desk in enumerate(both)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    desks.now_ms += 3 * MINUTE
    both[0].tick()
    found = both[0].jobs(1_000)
    assert {item.attempt for item in found} == {0, 1}
    for name, every in (("a", MINUTE), ("b", 3 * MINUTE)):
        first = (START // every + 1) * every
        meant = list(range(first, desks.now_ms + 1, every))
        assert sorted(item.due_ms for item in found if item.schedule == name) == meant
        assert meant


def test_overlap_says_what_becomes_of_a_due_time_while_the_last_run_goes_on(desks, monkeypatch):
    monkeypatch.setattr(jobs, "LEASE_MS", 10 * MINUTE)  # as if it were renewed
    desks.schedule("a: { kind: marts, cron: '* * * * *' }\nb: { kind: train, cron: '* * * * *', overlap: queue }\n")
    desk = desks.open()
    desk.tick()
    for _ in range(3):
        desks.now_ms += MINUTE
        desk.tick()
        desk.claim()
    states = {name: sorted(job.state for job in desk.jobs(10) if job.schedule == name) for name in "ab"}
    assert states == {"a": ["running", "skipped", "skipped"], "b": ["queued", "queued", "running"]}


def test_a_run_that_was_queued_waits_for_the_one_before(desks):
    desks.schedule("a: { kind: marts, cron: '* * * * *', overlap: queue }")
    desk = desks.open()
    desk.tick()
    for _ in range(2):
        desks.now_ms += MINUTE
        desk.tick()
    first = desk.claim()
    assert desk.claim() is None
    finish(desk, first)
    assert desk.claim().due_ms == first.due_ms + MINUTE


def test_a_clock_that_was_set_back_a_day_does_not_stop_schedules_for_a_day(desks):
    desks.schedule("a: { kind: marts, cron: '* * * * *' }")
    desk = desks.open()
    desk.tick()
    desks.now_ms -= 86_400_000
    desk.tick()
    desks.now_ms += MINUTE
    desk.tick()
    assert [job.due_ms for job in desk.jobs(10)] == [(desks.now_ms // MINUTE) * MINUTE]


@pytest.mark.parametrize("catch_up", ["last", "all"])
@pytest.mark.parametrize("back", [50, 90], ids=lambda minutes: f"{minutes} minutes back")
def test_each_due_time_runs_once_also_where_the_clock_is_set_back(desks, catch_up, back):
    desks.schedule(f"a: {{ kind: marts, cron: '*/20 * * * *', catch_up: {catch_up} }}")
    desk = desks.open()
    desk.tick()
    for minutes in [20] * 6 + [-back] + [20] * 9:
        desks.now_ms += minutes * MINUTE
        desk.tick()
        while job := desk.claim():
            finish(desk, job)

    runs = [job.due_ms for job in desk.jobs(999) if job.state != "skipped"]
    assert len(runs) == len(set(runs)) >= 9
    assert max(runs) > desks.now_ms - 20 * MINUTE


def test_what_is_paused_does_not_run_and_is_not_made_up_for(desks):
    desks.schedule("a: { kind: marts, cron: '* * * * *', catch_up: all }")
    desk = desks.open()
    desk.tick()
    desk.pause(ADMIN, "a", is_paused=True)
    desks.now_ms += 5 * MINUTE
    desk.tick()
    assert desk.states()[0].next_ms is None
    desk.pause(ADMIN, "a", is_paused=False)
    desk.tick()
    assert desk.jobs(10) == []
    desks.now_ms += MINUTE
    desk.tick()
    assert len(desk.jobs(10)) == 1
    with pytest.raises(NoJobError, match="no schedule 'b'"):
        desk.pause(ADMIN, "b", is_paused=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: { kind: martz, cron: '* * * * *' }", "no kind of job 'martz'.*marts"),
        ("a: { kind: marts, cron: '* * * * *', params: { ful: true } }", "params.ful.*full"),
        ("a: { kind: marts, cron: '* * * * *', params: { full: 3 } }", "params.full: expected"),
        ("a: { kind: marts, cron: '* * * *' }", "five fields"),
        ("a: { kind: marts, cron: '0 0 31 2 *' }", "bad day-of-month"),
        ("a: { kind: marts, cron: '* * * * *', zone: Berlin }", "is not a time zone"),
        ("a: { kind: marts, cron: '* * * * *', retries: 11 }", "0 to 10"),
        ("a: { kind: marts, cron: '* * * * *', timeout: 8d }", "1s to 7d"),
        ("a: { kind: marts, crom: '* * * * *' }", "crom"),
    ],
)
def test_a_mistake_in_schedules_yaml_has_its_place_and_keeps_the_project_from_being_well(desks, text, words):
    desks.schedule(text)
    report = app.open_exactly(desks.folder).check()
    assert len(report.errors) in {1, 2}
    with pytest.raises(DefinitionError, match=rf"schedules.yaml:1:(.|\n)*{words}"):
        desks.open().schedules()


# ---- jobs


def test_one_of_a_kind_waits_or_runs_at_a_time_and_two_of_all_run(desks):
    desk = desks.open()
    first = desk.begin(ADMIN, "marts", {})
    with pytest.raises(JobBusyError, match=first.id):
        desk.begin(ADMIN, "marts", {"full": True})
    desk.begin(ADMIN, "train", {})
    desk.begin(ADMIN, "backtest", {})
    assert [desk.claim().kind for _ in range(2)] == ["marts", "train"]
    assert desk.claim() is None
    finish(desk, desk.job(first.id))
    assert desk.claim().kind == "backtest"


def test_a_back_test_that_a_person_waits_for_runs_beside_two_others(desks):
    desk = desks.open()
    for kind in ("marts", "train", "backtest"):
        desk.begin(ADMIN, kind, {})
    drafts = [desk.begin(ADMIN, "draft-backtest", {"name": name}).id for name in ("a", "b")]
    assert [desk.claim().kind for _ in range(3)] == ["marts", "train", "draft-backtest"]
    assert desk.claim() is None
    finish(desk, desk.job(drafts[0]))
    assert desk.claim().id == drafts[1]
    assert desk.claim() is None


@pytest.mark.parametrize(
    ("kind", "params", "path"),
    [
        ("features", {}, "params"),
        ("features", {"event": "payment", "outt": "x"}, "params.outt"),
        ("marts", {"full": "true"}, "params.full"),
        ("marts", {"memory": "lots"}, "params.memory"),
        ("train", {"event": ""}, "params.event"),
    ],
)
def test_parameters_are_strict_and_say_where(kind, params, path):
    with pytest.raises(ParamsError) as found:
        kind_named(kind).read(params)
    assert found.value.more["errors"][0]["path"] == path


def test_who_may_not_do_what_a_kind_does_may_not_queue_it(desks):
    desk = desks.open()
    for role, kind, params, right in ((Role.VIEWER, "marts", {}, "run:jobs"), (Role.ANALYST, "train", {}, "run:jobs")):
        with pytest.raises(NotAllowedError, match=right):
            desk.begin(who(role), kind, params)
    some = who(Role.AUTHOR, who(Role.AUTHOR).rights - {"promote:models"})
    desk.begin(some, "train", {})
    with pytest.raises(NotAllowedError, match="promote:models"):
        desk.begin(some, "train", {"promote": True})
    (job,) = desk.jobs(9)
    for call in (
        lambda: desk.cancel(who(Role.ANALYST), job.id),
        lambda: desk.run_now(who(Role.ANALYST), "nightly"),
        lambda: desk.pause(who(Role.ANALYST), "nightly", is_paused=True),
    ):
        with pytest.raises(NotAllowedError, match="run:jobs"):
            call()


def test_what_is_begun_cancelled_and_paused_is_in_the_audit(desks):
    desks.schedule("nightly: { kind: marts, cron: '0 2 * * *' }\n")
    desk = desks.open()
    desk.cancel(ADMIN, desk.begin(ADMIN, "marts", {}).id)
    desk.run_now(ADMIN, "nightly")
    for is_paused in (True, False):
        desk.pause(ADMIN, "nightly", is_paused=is_paused)
    with app.open(desks.folder).people.open() as people:
        told = [(row.who, row.action, row.subject) for row in rows_of(people.store)]

    acts = ["job.begin marts", "job.cancel marts", "schedule.run nightly", "schedule.pause nightly"]
    assert told == [(ADMIN.id, *act.split()) for act in (*acts, "schedule.resume nightly")]


def test_a_lease_that_ends_lets_the_job_begin_again_and_who_lost_it_cannot_end_it(desks):
    """
    A ──claim──────────X                        attempt 1, lost
    B        tick ·    lease ends · tick claim ── done     attempt 2
    """
    desk, other = desks.open(), desks.open()
    id_ = desk.begin(ADMIN, "marts", {}).id
    first = desk.claim()
    desks.now_ms += jobs.LEASE_MS - 1
    other.tick()
    assert other.claim() is None
    desks.now_ms += 1
    other.tick()
    second = other.claim()
    assert (second.id, second.attempt) == (id_, 2)
    assert desk.renew(id_, first.attempt, ("late", 1, 2, ())) is None
    finish(desk, first, jobs.FAILED)
    assert other.job(id_).state == jobs.RUNNING
    finish(other, second)
    assert other.job(id_).state == jobs.DONE
    assert "begins again" in other.job(id_).lines[0]


def test_a_job_that_is_lost_too_often_is_not_begun_again(desks):
    desk = desks.open()
    id_ = desk.begin(ADMIN, "marts", {}).id
    for _ in range(jobs.INTERRUPTIONS_MAX + 1):
        assert desk.claim() is not None
        desks.now_ms += jobs.LEASE_MS
        desk.tick()
    assert desk.claim() is None
    assert desk.job(id_).state == jobs.INTERRUPTED


def test_a_failed_run_is_made_again_after_a_pause_as_often_as_its_schedule_says(desks):
    desks.schedule("a: { kind: marts, cron: '0 0 1 1 *', retries: 2 }")
    desk = desks.open()
    id_ = desk.run_now(ADMIN, "a").id
    for wait_ms in (30_000, 60_000):
        job = desk.claim()
        desk.end(id_, job.attempt, partial(jobs.failed, why="away", may_help=True))
        desks.now_ms += wait_ms - 1
        assert desk.claim() is None
        desks.now_ms += 1
    desk.end(id_, desk.claim().attempt, partial(jobs.failed, why="away", may_help=True))
    assert (desk.job(id_).state, desk.job(id_).attempt) == (jobs.FAILED, 3)


def test_what_waits_is_cancelled_at_once_and_what_has_ended_is_not(desks):
    desk = desks.open()
    id_ = desk.begin(ADMIN, "marts", {}).id
    assert desk.cancel(ADMIN, id_).state == jobs.CANCELLED
    with pytest.raises(UsageError, match="has ended"):
        desk.cancel(ADMIN, id_)
    with pytest.raises(NoJobError):
        desk.cancel(ADMIN, "nothing")


def test_logs_results_and_the_history_have_limits(desks, monkeypatch):
    monkeypatch.setattr("shroff.adapters.jobs.sql.KEPT", 3)
    desk = desks.open()
    for _ in range(6):
        desk.begin(ADMIN, "marts", {})
        job = desk.claim()
        desk.renew(job.id, 1, ("s" * 9_000, 1, 2, tuple("x" * 9_000 for _ in range(900))))
        desk.end(job.id, 1, partial(jobs.ended, state=jobs.DONE, result={"rows": "x" * 100_000}))
        desks.now_ms += 1
    found = desk.jobs(100)
    assert len(found) == 4  # three that had ended, and the last
    whole = desk.job(found[0].id)
    assert len(whole.lines) == jobs.LINES_MAX
    assert max(map(len, [*whole.lines, whole.step])) == jobs.LINE_MAX
    assert "100," in found[0].why
    assert whole.result == ""
