"""What leaves is told alike by Live, the outbox, Health, its JSON and doctor: a dead sink is denied nowhere."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.monitoring.doctor import WRONG
from shroff.streams.sink_cursor import DeliveryHealth, Trouble
from shroff.worker.outbox import Deliveries, SinkState, leaving
from shroff.worker.serving.counts import WorkerCounts
from tests.support.webs import Asker, Browser, run

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOK = f"sinks: {{ decided: {{ webhook: {{ url: http://127.0.0.1:9/hook, secret: {SECRET} }} }} }}\n"


def state(name: str, lag: int = 0, stuck: int = 0) -> SinkState:
    return SinkState(name, "webhook", "decisions", 0, lag, None, stuck)


def test_what_leaves_is_ordered_by_harm_and_added_up():
    found = leaving([state("a"), state("b", lag=9), state("c", stuck=2), state("lake", lag=400)])

    assert [item.name for item in found.states] == ["c", "lake", "b", "a"]
    assert (found.waiting, found.failed, found.failing) == (9, 2, [])
    assert Deliveries().waiting == 0


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A bank with a sink behind which nobody is."""
    shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")
    with (tmp_path / "bank" / "shroff.yaml").open("a", encoding="utf-8") as file:
        file.write(HOOK)
    return tmp_path / "bank"


@pytest.mark.slow
def test_a_dead_sink_is_told_in_each_place(bank: Path):
    async def steps(asks: Asker, browser: Browser) -> None:
        headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        known = {"paid_at": "2026-01-05T08:30:00Z", "card": "c-1", "merchant": "m", "country": "DE", "channel": "pos"}
        sent = [{"payment_id": f"p-{number}", "amount": "1.50", **known} for number in range(5)]
        await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(sent), headers)

        async def shown(path: str, words: str) -> str:
            for _ in range(12_000):
                text = (await browser.get(path)).body.decode()
                if words in text:
                    return text
                await asyncio.sleep(0.05)
            raise AssertionError(text)

        live = await shown("/live", "decided accepts nothing")
        assert "nothing is in quarantine or failed to send" not in live
        assert '<th scope="row">Waiting to send</th><td class="number bad">5</td>' in live
        figures = (await browser.get("/api/v1/live")).json()
        assert (figures["outbox"], figures["outbox_failing"]) == (5, ["decided"])
        assert "<b>Sending to decided fails at the moment.</b>" in await shown("/mails/letters", "5 records behind")
        await shown("/checks", "1 destination fails")
        health = (await browser.get("/api/v1/health")).json()
        assert (health["sinks"][0]["name"], health["sinks"][0]["lag"]) == ("decided", 5)
        assert "127.0.0.1:9" in health["sinks"][0]["trouble"]

        def wrong() -> list[str]:
            return [finding.subject for finding in asks.service.project.health.doctor() if finding.state == WRONG]

        for _ in range(12_000):  # another process reads of the failure in the log, which has it with the next commit
            if subjects := wrong():
                break
            await asyncio.sleep(0.05)
        assert subjects == ["sink decided"]

    run(bank, steps)


def test_a_failure_is_told_before_the_log_knows_of_it(bank: Path):
    """Health's JSON knows what the deliveries of this process know, also while its findings are a minute old."""

    async def steps(asks: Asker, browser: Browser) -> None:
        await browser.get("/api/v1/health")
        failing = DeliveryHealth("decided", 0, 3, 0, 1, Trouble("refused by hand", 0))
        asks.service.work = WorkerCounts(sinks=[failing])
        health = (await browser.get("/api/v1/health")).json()
        assert health["sinks"][0]["trouble"] == "refused by hand"

    run(bank, steps)
