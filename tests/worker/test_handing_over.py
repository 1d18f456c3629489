"""A service that ends lets go of the log soon, whoever may still be sending, and answers what it took."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import closing
from pathlib import Path

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import LogBusyError
from shroff.services import project as app
from tests.support.webs import Asker, asker

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PAYMENT = {
    "payment_id": "p-1",
    "paid_at": "2026-01-05T08:30:00Z",
    "card": "c-000042",
    "merchant": "m-00007",
    "terminal": "t-00019",
    "amount": "24.90",
    "country": "DE",
    "channel": "pos",
}
WAITS_S = 120.0


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return shutil.copytree(TEMPLATE, tmp_path / "bank")


def lead_is_free(folder: Path) -> bool:
    """Whether another process could lead the log within a minute."""
    end_s = time.monotonic() + WAITS_S
    while time.monotonic() < end_s:
        try:
            with closing(app.open_exactly(folder).log.open(read_only=False)):
                return True
        except LogBusyError:
            time.sleep(0.02)
    return False


async def post(asks: Asker, id_: str) -> tuple[int, str]:
    found = await asks.ask("POST", "/api/v1/events/payment", {**PAYMENT, "payment_id": id_})
    return found.status, found.json().get("outcome", found.json().get("detail", ""))


def test_the_log_is_free_before_the_service_has_ended_and_later_posts_are_turned_away(bank):
    async def steps() -> None:
        async with asker(bank) as asks:
            service = asks.service
            assert await post(asks, "p-1") == (200, "approve")
            in_line = [asyncio.create_task(post(asks, f"p-{number}")) for number in range(2, 40)]
            await asyncio.sleep(0)  # each of them is in line then
            service.is_ending = True
            service.hand_over()

            answered = await asyncio.gather(*in_line)
            assert {status for status, _ in answered} == {200}
            assert await asyncio.to_thread(lead_is_free, bank)
            status, words = await post(asks, "p-late")
            assert (status, "is stopping" in words) == (503, True)
            with app.open_exactly(bank).log.reading() as log:
                there = sum(len(rows) for rows in log.decisions.after())
            assert there == 1 + len(answered)

    asyncio.run(steps())
