"""The screen of experiments: both arms in money, links to their decisions, and how an experiment is ended."""

from __future__ import annotations

import re

import pytest

from tests.app.test_experiment import COSTS, trial
from tests.support.webs import Asker, Browser, run


@pytest.mark.slow
def test_an_experiment_is_read_and_ended_on_its_screen(tmp_path):
    trial(tmp_path, cards=24)

    async def steps(asks: Asker, browser: Browser) -> None:
        token = {"csrf": await browser.csrf(), "rule": "stricter", "reason": "proven"}
        shown = (await browser.get("/experiments")).body.decode()

        assert "Arm B is better" in shown or "Neither arm is proven better yet" in shown
        for arm in "AB":
            path = re.search(rf'href="(/decisions[^"]*arm={arm})" aria-label="(\d+) events', shown)
            assert path is not None
            listed = (await browser.get(path[1].replace("&amp;", "&"))).body.decode()
            assert listed.count('<th scope="row"') >= int(path[2])
        assert "Promote arm B" in shown
        assert "Promoting turns large on for all keys." in shown
        assert (await browser.post("/experiments", token)).headers["location"] == "/experiments?rule=stricter"
        assert (tmp_path / "policy.yaml").read_text() == f"payment:\n{COSTS}"
        ended = (await browser.get("/experiments?rule=stricter")).body.decode()
        assert "End the experiment" not in ended
        assert "of 1,000 keys" in ended
        assert "No experiment" in (await browser.get("/experiments")).body.decode()
        assert "Not enough labels yet" in (await browser.get("/experiments?rule=other")).body.decode()

    run(tmp_path, steps)
