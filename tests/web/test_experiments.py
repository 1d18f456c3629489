"""The screen of experiments: both arms in money, links to their decisions, and how an experiment is ended."""

from __future__ import annotations

import asyncio
import re

import pytest

from shroff.web.pages.renderer import environment
from tests.services.test_experiment import COSTS, trial
from tests.services.test_guards import bank_of, checked, text
from tests.support.webs import Asker, Browser, run


@pytest.mark.slow
def test_an_experiment_is_read_and_ended_on_its_screen(tmp_path):
    trial(tmp_path, cards=24)

    async def steps(asks: Asker, browser: Browser) -> None:
        token = {"csrf": await browser.csrf(), "rule": "stricter", "reason": "proven"}
        shown = (await browser.get("/experiments")).body.decode()

        assert "Arm B is better" in shown or "Neither arm is proven better yet" in shown
        words = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", shown))
        ends = r"from [\d,.]+ (less|more) to [\d,.]+ (less|more)"
        said = rf"Arm B costs [\d,.]+ EUR (less|more) than arm A per 1,000 cards since .* 2026 \(95 % .*: {ends}\)\."
        assert re.search(said, words), words
        assert re.search(r'<label for="as-of">Labels known before</label>\s*<input [^>]*id="as-of"', shown)
        assert "An event counts once 99 % of frauds are known at its age; all so far count from" in words
        assert "% of cards" in words, "the share is that of the keys in the table"
        for arm in "AB":
            path = re.search(rf'href="(/decisions[^"]*arm={arm})" aria-label="(\d+) events', shown)
            assert path is not None
            listed = (await browser.get(path[1].replace("&amp;", "&"))).body.decode()
            assert listed.count('<th scope="row"') >= int(path[2])
        project = asks.service.project
        with project.log.reading() as log:
            hits = [hit for rows in log.hits.after() for hit in rows if hit.rule == "stricter" and not hit.shadow]
            ids = [record.id for record in log.records_at([hit.seq for hit in hits]).values()]
        reasons = [await asyncio.to_thread(project.history.first_reason, "payment", id_) for id_ in ids[:5]]
        assert reasons, "an arm is the reason of no decision, and no rule to people"
        assert "stricter" not in {reason and reason.code for reason in reasons}
        for path in ("/rules", "/live", "/entities", f"/entities/card/{hits[0].key}", f"/decisions/payment/{ids[0]}"):
            seen = (await browser.get(path)).body.decode()
            of_rules = re.sub(r"<footer><span>Arm B of the experiment .*?</footer>", "", seen)
            assert "stricter" not in of_rules, path
            assert "<dt>Rules that hit</dt><dd>1</dd>" in seen or "/decisions/" not in path
        assert "Promote arm B" in shown
        assert "Promoting turns large on for all keys." in shown
        assert (await browser.post("/experiments", token)).headers["location"] == "/experiments?rule=stricter"
        assert (tmp_path / "policy.yaml").read_text() == f"payment:\n{COSTS}"
        ended = (await browser.get("/experiments?rule=stricter")).body.decode()
        assert "End the experiment" not in ended
        assert "per 1,000 " in ended
        assert "No experiment" in (await browser.get("/experiments")).body.decode()
        assert "Not enough labels yet" in (await browser.get("/experiments?rule=other")).body.decode()

    run(tmp_path, steps)


@pytest.mark.slow
def test_a_stop_is_shown_and_undone_by_one_click(tmp_path):
    bank = bank_of(tmp_path)
    before = text(bank)
    why = checked(bank).why

    async def steps(asks: Asker, browser: Browser) -> None:
        shown = (await browser.get("/experiments")).body.decode()
        assert "stricter</b> stopped since" in shown
        assert why in shown
        sent = await browser.post("/experiments/undo", {"csrf": await browser.csrf(), "name": "stricter"})

        assert sent.headers["location"] == "/experiments?rule=stricter"
        assert text(bank) == before
        after = (await browser.get("/experiments")).body.decode()
        assert "stricter</b> off since" in after
        assert "Undo the stop" not in after

    run(tmp_path, steps)


@pytest.mark.parametrize(
    ("saved", "low", "high", "said"),
    [
        ("-981.55", "-5158.99", "3195.88", "981.55 EUR more, from 3,195.88 less to 5,158.99 more"),
        ("300.00", "100.00", "500.00", "300.00 EUR less, from 500.00 less to 100.00 less"),
    ],
)
def test_what_an_arm_costs_is_said_with_one_direction_for_the_amount_and_its_ends(saved, low, high, said):
    difference = environment().get_template("parts.html").module.difference
    texts = [" ".join(text.split()) for text in (difference(saved, "EUR"), difference(high), difference(low))]

    assert "{}, from {} to {}".format(*texts) == said
