"""The screen of suggestions: a search is queued, what it gave is shown, and a suggested rule goes into shadow."""

from __future__ import annotations

import shutil

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.jobs.job import ended
from shroff.services.suggestions.operations import DroppableRule, RuleSuggestions, SuggestedRule
from tests.support.webs import Asker, Browser, run

FILE = """\
- id: suggested_amount_1f2e
  on: payment
  by: account
  when: 'this.amount > 220'
  reason: 'amount {this.amount}'
  effect: decline
"""
WORDS = "Decline a payment when the amount is above 220."


@pytest.mark.slow
def test_a_search_is_queued_and_its_rule_goes_into_shadow_by_one_key(tmp_path):
    rule = SuggestedRule(
        *("suggested_amount_1f2e", "this.amount > 220", WORDS, "payment", "decline", 472, 472, 1.0, 0.992, 1.0),
        *("165921.11", "148277.47", "183564.75", {"large": 0.25}, "constant", FILE),
    )
    day = "2026-05-0{}T10:00:00Z".format
    found = RuleSuggestions(
        as_of=day(9),
        learned_from=day(1),
        learned_to=day(4),
        tested_from=day(5),
        tested_to=day(8),
        tried=1,
        rules=[rule],
        drop=[DroppableRule("old", "it never hits", "0.000", 0), DroppableRule("dear", "it costs more", "20.00", 5)],
    )

    async def steps(asks: Asker, browser: Browser) -> None:
        token = {"csrf": await browser.csrf()}
        assert "Not searched yet" in (await browser.get("/suggestions")).body.decode()
        assert (await browser.post("/suggestions", token)).headers["location"] == "/suggestions"
        assert (await browser.post("/suggestions", token)).status == 422  # one runs already
        job = asks.service.jobs.claim()
        assert "data-again" in (await browser.get("/suggestions")).body.decode()
        asks.service.jobs.end(job.id, 1, lambda job, now_ms: ended(job, now_ms, "done", result=found))
        shown = (await browser.get("/suggestions")).body.decode()
        for said in (
            WORDS,
            "100.0\N{NO-BREAK SPACE}%",
            "99.2\N{NO-BREAK SPACE}% to 100.0",
            "165,921.11",
            "large",
            "It costs more",
            "Frauds hit",
            'href="/rules/dear#history"',
            "1 rule changes no decision",
            "Try in shadow",
        ):
            assert said in shown
        assert shown.index("it never hits") > shown.index("It costs more"), "what saves nothing is folded below"
        assert 'href="/rules/old#history"' not in shown
        unknown = await browser.post("/suggestions/shadow", token | {"rule": "another"})
        assert (unknown.status, "no longer suggests" in unknown.body.decode()) == (422, True)
        gone = await browser.post("/suggestions/shadow", token | {"rule": rule.id})
        assert (gone.status, gone.headers["location"]) == (303, f"/rules/{rule.id}")
        assert "shadow: true" in (tmp_path / "bank" / "rules" / f"{rule.id}.yaml").read_text()
        assert "Try in shadow" not in (await browser.get("/suggestions")).body.decode()

    run(shutil.copytree(TEMPLATE_FOLDER / "blank", tmp_path / "bank"), steps)
