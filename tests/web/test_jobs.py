"""Jobs by the API and on the screen: queued, looked at, cancelled; schedules run and paused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from tests.support.webs import Answered, Asker, Browser, run

JOBS = "/api/v1/jobs"
SCHEDULES = "/api/v1/schedules"
NIGHTLY = "nightly: { kind: summaries, cron: '0 5 * * *', zone: Europe/Berlin }\n"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE_FOLDER / "blank", tmp_path / "bank")
    (tmp_path / "bank" / "schedules.yaml").write_text(NIGHTLY)
    return tmp_path / "bank"


async def call(browser: Browser, method: str, path: str, body: object = None) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    return await browser.send(method, path, b"" if body is None else msgspec.json.encode(body), headers)


def test_a_job_is_queued_once_of_its_kind_watched_and_cancelled(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        new = await call(browser, "POST", JOBS, {"kind": "marts", "params": {"full": True}})
        assert new.status == 202
        url = new.headers["location"]
        assert (new.json()["url"], new.json()["state"], new.json()["by"]) == (url, "queued", "ann")
        again = await call(browser, "POST", JOBS, {"kind": "marts"})
        assert (again.status, again.headers["location"], again.json()["url"]) == (409, url, url)
        job = asks.service.jobs.claim()
        asks.service.jobs.renew(job.id, 1, ("building models", 2, 5, ("first line",)))
        found = (await call(browser, "GET", url)).json()
        assert (found["state"], found["step"], found["done"], found["total"]) == ("running", "building models", 2, 5)
        page = (await browser.get(f"/jobs/{job.id}")).body.decode()
        assert "building models: 2 of 5" in page
        assert ("first line" in page, "Run again" in page) == (True, False)
        assert (await call(browser, "POST", f"{url}/cancel")).status == 200
        assert asks.service.jobs.job(job.id).is_stopping
        listed = (await call(browser, "GET", f"{JOBS}?limit=1")).json()
        assert [row["id"] for row in listed["jobs"]] == [job.id]
        assert (await call(browser, "GET", f"{JOBS}?limit=1&before={listed['next']}")).json()["jobs"] == []

    run(bank, steps)


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"kind": "martz"}, 422, None),
        ({"kind": "marts", "param": {}}, 422, None),
        ({"kind": "marts", "params": {"ful": True}}, 422, "params.ful"),
        ({"kind": "features", "params": {"event": 3}}, 422, "params.event"),
    ],
)
def test_what_no_kind_takes_is_refused_with_its_path(bank, body, status, path):
    async def steps(asks: Asker, browser: Browser) -> None:
        found = await call(browser, "POST", JOBS, body)
        assert found.status == status
        assert path is None or [error["path"] for error in found.json()["errors"]] == [path]
        assert (await call(browser, "GET", f"{JOBS}/nothing")).status == 404
        assert (await call(browser, "GET", f"{JOBS}?limit=0")).status == 400

    run(bank, steps)


def test_schedules_run_now_and_are_paused_on_the_screen_and_by_programs(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        (schedule,) = (await call(browser, "GET", SCHEDULES)).json()["schedules"]
        assert (schedule["schedule"], schedule["paused"], schedule["last"]) == ("nightly", False, None)
        page = (await browser.get("/jobs")).body.decode()
        assert "nightly" in page
        assert "No jobs yet" in page
        token = await browser.csrf()
        form = {"csrf": token, "schedule": "nightly"}
        assert "At 05:00 every day, Europe/Berlin<br>" in (await browser.get("/jobs")).body.decode()
        assert (await browser.post("/jobs/schedules", form | {"do": "pause"})).status == 303
        assert "Resume" in (await browser.get("/jobs")).body.decode()
        assert (await call(browser, "POST", f"{SCHEDULES}/nightly/resume")).json()["schedules"][0]["paused"] is False
        assert (await call(browser, "POST", f"{SCHEDULES}/other/pause")).status == 404
        went = await browser.post("/jobs/schedules", form | {"do": "run"})
        assert re.fullmatch(r"/jobs/[0-9a-f-]+", went.headers["location"])
        assert (await call(browser, "POST", f"{SCHEDULES}/nightly/run")).status == 409
        mistaken = await browser.post("/jobs", {"csrf": token, "kind": "marts", "params": "[1]"})
        assert mistaken.status == 422
        refused = await browser.post("/jobs", {"csrf": token, "kind": "marts", "params": '{"ful": 1}'})
        assert "params.ful" in refused.body.decode()
        begun = await browser.post("/jobs", {"csrf": token, "kind": "marts", "params": ""})
        cancelled = await browser.post(f"{begun.headers['location']}/cancel", {"csrf": token})
        assert cancelled.status == 303
        ended = (await browser.get(begun.headers["location"])).body.decode()
        assert [words in ended for words in ("cancelled", "Run again", "No result: the job was cancelled.")] == [
            True
        ] * 3
        short = {"kind": "marts", "params": {"full": True}, "timeout_s": 60, "retries": 2}
        first = (await call(browser, "POST", JOBS, short)).json()["url"].removeprefix("/api/v1")
        assert (await browser.post(f"{first}/again", {"csrf": token})).status == 422  # it waits still
        await browser.post(f"{first}/cancel", {"csrf": token})
        again = (await browser.post(f"{first}/again", {"csrf": token})).headers["location"]
        old, new = (asks.service.jobs.job(item.removeprefix("/jobs/")) for item in (first, again))
        assert (new.params, new.timeout_ms, new.retries) == (old.params, 60_000, 2)
        await browser.post(f"{again}/cancel", {"csrf": token})
        assert re.search(r"None of the newest \d+ failed\.", (await browser.get("/jobs")).body.decode())
        kinds = (await call(browser, "GET", f"{JOBS}/kinds")).json()["kinds"]
        assert next(kind for kind in kinds if kind["kind"] == "backtest")["params"]["properties"].keys() >= {
            "from",
            "to",
        }

    run(bank, steps)
