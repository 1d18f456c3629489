"""The screen of entities: kinds as tabs, keys with flags and labels, page by page, and what is missing is said."""

from __future__ import annotations

import re
import shutil

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from tests.support.webs import Asker, Browser, run

pytestmark = pytest.mark.slow
PAYMENT = {"paid_at": "2026-01-05T08:30:00Z", "merchant": "m-1", "amount": "1.00", "channel": "web", "country": "DE"}


def test_keys_lead_to_their_pages_with_flags_and_labels(tmp_path):
    bank = shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "bank")

    async def steps(asks: Asker, browser: Browser) -> None:
        async def page(query: str = "") -> str:
            return re.sub(r"\s+", " ", (await browser.get(f"/entities{query}")).body.decode())

        assert "Nothing found" in await page()
        events = [PAYMENT | {"payment_id": f"p-{at}", "card": f"c/{at:02d}"} for at in range(60)]
        label = {"event": "payment/p-59", "verdict": "fraud", "source": "chargeback", "known_at": PAYMENT["paid_at"]}
        headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
        for path, body in (("events/payment", events), ("labels", [label])):
            sent = await browser.send("POST", f"/api/v1/{path}", msgspec.json.encode(body), headers)
            assert sent.status < 300
        first = await page("?entity=card&prefix=C/")
        cursor = re.search(r'href="(/entities\?[^"]*cursor=[^"]+)"', first)

        assert "50 on this page" in first
        assert '<a href="/entities/card/c%2F59">' in first
        assert '<b class="bad">1 fraud</b>' in first
        assert cursor is not None
        second = await page(cursor[1].removeprefix("/entities").replace("&amp;", "&"))
        assert "10 on this page" in second
        assert "c/09" in second
        assert "/entities/card/c%2F10" not in second
        assert 'href="/find?q=nobody' in await page("?entity=card&prefix=nobody")
        assert "m-1" in await page("?entity=merchant")
        assert (await browser.get("/entities?entity=%3Cb%3E")).status == 404
        assert (await browser.get("/entities?cursor=x")).status == 400
        late = [
            PAYMENT | {"payment_id": f"p-{card}", "card": card, "paid_at": f"2026-01-05T{at}:00Z"}
            for card, at in (("o-first", "09:20"), ("o-last", "09:25"), ("o-late", "09:21"))
        ]
        await browser.send("POST", "/api/v1/events/payment", msgspec.json.encode(late), headers)
        by_time = await page("?entity=card&prefix=o-")
        assert re.findall(r'href="/entities/card/(o-\w+)"', by_time) == ["o-last", "o-late", "o-first"]
        assert "Flags: events at which a rule hit the card, the newest 20 at most." in by_time

    run(bank, steps)
