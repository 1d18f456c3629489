"""The screen of drift: what moved most comes first with its limit, a measurement is queued, and mistakes are said."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.jobs.job import ended
from shroff.monitoring.drift import DriftBin
from shroff.monitoring.drift_record import DriftAlert, DriftFigure, DriftLook, DriftRecord
from shroff.services.documents import Documents
from shroff.services.drift.records import KIND, NAME
from tests.support.webs import Asker, Browser, run

pytestmark = pytest.mark.slow
NOW = "2026-01-05T08:30:00Z"
FIGURES = (
    DriftFigure("card.payments_1h", 0.7, True, 0.25, 0.0, missing_before=0.125, bins=(DriftBin("up to 2", 0.75, 0.5),)),
    DriftFigure("payment.amount", 0.01, False, 0.0, 0.03, bins=(DriftBin("<b>", 0.0, 0.03),)),
    DriftFigure("score", 0.0, False, 0.0, 0.0),
    DriftFigure("label delay", 0.3, False, 0.0, 0.0, is_unclear=True),
)
LOOK = DriftLook(NOW, NOW, "m-1", 900, 70, 0.2, FIGURES, "the reference", "the last 7d")


def test_what_moved_leads_to_its_feature_and_a_measurement_is_queued(tmp_path):
    bank = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")

    async def steps(asks: Asker, browser: Browser) -> None:
        async def page() -> str:
            return re.sub(r"\s+", " ", (await browser.get("/drift")).body.decode())

        assert "Not measured yet" in await page()
        alert = DriftAlert("d-1", "payment", NOW, "", ("card.payments_1h",))
        with asks.service.project.part(Documents).edit(KIND, DriftRecord) as stored:
            stored[NAME] = DriftRecord(looks={"payment": LOOK}, alerts=(alert,))
        shown = await page()
        for said in (
            "1 of 4 values drifted",
            '<input type="hidden" name="kind" value="train">',
            'value=\'{"event": "payment"}\'',
            ">Train again<",
            'href="/features?event=payment#card.payments_1h"',
            'href="/features?event=payment&amp;try=payment.amount"',
            'href="/models/m-1"',
            'href="/labels"',
            "<b>0.700</b>",
            '25.0 %<br><span class="small third">12.5 % before',
            "up to 2 75.0 % and 50.0 %",
            "&lt;b&gt;: 0.0 %, now 3.0 %",
            "Grey: the reference. Colored: the last 7d.",
            "Alert since",
            "too few events",
        ):
            assert said in shown, said
        assert 'id="card.payments_1h"' in (await browser.get("/features?event=payment")).body.decode()

        form = {"csrf": await browser.csrf(), "event": "payment", "reference": "7d", "recent": "1d"}
        assert (await browser.post("/drift", form | {"recent": ""})).headers["location"] == "/drift"
        job = asks.service.jobs.claim()
        assert job.arguments == {"event": "payment", "reference": "7d", "recent": ""}
        assert "data-again" in await page()
        asks.service.jobs.end(job.id, 1, lambda job, now_ms: ended(job, now_ms, "failed", why="no <events> yet"))
        assert "The last measurement failed: no &lt;events&gt; yet" in await page()
        with closing(sqlite3.connect(bank / ".shroff" / "log.db")) as log, log:
            log.execute("UPDATE documents SET body = '{'")
        assert "cannot be read" in (await browser.get("/drift")).body.decode()

    run(bank, steps)
