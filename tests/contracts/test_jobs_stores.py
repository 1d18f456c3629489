"""Stores of jobs on all databases: what is kept comes back, and a change holds every other one until its end."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from shroff.adapters.jobs.sql import SqlJobs
from shroff.adapters.people.sql import SqlPeople
from shroff.jobs.due_times import ScheduleMark
from shroff.jobs.job import DONE, RUNNING, Job
from shroff.runtime.values import replace
from tests.contracts import test_notices_stores as places

JOB = Job(
    *("20260601-000000000-0000ab12", "marts", '{"full":true}', '{"id":"ü"}', "nightly", 2**41, RUNNING, 2, 3, 60_000),
    *(2**41, 2**41 + 1, 2**41 + 2, 0, 2**41 + 20_000, True, "building 'models' ☃", 3, 7, ("a", "ö\n"), "{}", "why"),
)
LIGHT = replace(JOB, lines=(), result="")  # as lists have it


class JobStores:
    """What holds on each of them."""

    def make_people(self, folder: Path) -> SqlPeople:
        raise NotImplementedError

    def test_what_is_kept_comes_back(self, tmp_path):
        people = self.make_people(tmp_path)
        with SqlJobs(people).change() as change:
            change.add(JOB)
            change.add(replace(JOB, id=JOB.id + "9", state=DONE))
            change.mark("nightly", ScheduleMark(1))
            change.mark("nightly", ScheduleMark(2**41, is_paused=True))
            change.mark("nightly", ScheduleMark(2**41, is_paused=True))  # nothing changes, and no row is added
        with SqlJobs(people).look() as look:
            assert look.job(JOB.id) == JOB
            assert look.job("other") is None
            assert look.open_jobs() == [LIGHT]
            assert look.last_of_schedules()["nightly"].id == JOB.id + "9"
            assert [job.id for job in look.jobs(10)] == [JOB.id + "9", JOB.id]
            assert look.jobs(10, JOB.id + "9") == [LIGHT]
            assert look.jobs_of("marts") == [replace(LIGHT, id=JOB.id + "9", state=DONE), LIGHT]
            assert look.jobs_of("marts", has_results=True)[1] == replace(JOB, lines=())
            assert look.marks() == {"nightly": ScheduleMark(2**41, is_paused=True)}
        people.close()

    def test_a_change_holds_every_other_one_until_its_end(self, tmp_path):
        stores = [self.make_people(tmp_path) for _ in range(2)]
        with SqlJobs(stores[0]).change() as change:
            change.add(replace(JOB, attempt=0))

        def work(people: SqlPeople) -> None:
            store = SqlJobs(people)
            for _ in range(15):
                with store.change() as change:
                    job = change.job(JOB.id)
                    change.put(replace(job, attempt=job.attempt + 1))

        threads = [Thread(target=work, args=(item,)) for item in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with SqlJobs(stores[0]).look() as look:
            assert look.job(JOB.id).attempt == 30
        for item in stores:
            item.close()


class TestSqliteJobs(JobStores):
    def make_people(self, folder: Path) -> SqlPeople:
        return places.TestSqliteNotices.make_people(self, folder)


@pytest.mark.slow
class TestPostgresJobs(JobStores):
    _server = places.TestPostgresNotices._server

    def make_people(self, folder: Path) -> SqlPeople:
        return places.TestPostgresNotices.make_people(self, folder)
