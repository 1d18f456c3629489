"""A password without the second factor gets in nowhere: every page and route, with a browser that is half signed in."""

from __future__ import annotations

import re
import shutil
import time
from base64 import b32decode
from pathlib import Path

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.people import factors
from shroff.web.http.routes import OPEN_BELOW
from shroff.web.table import table
from tests.support.webs import PASSWORD, Asker, Browser, run
from tests.web.test_people import call, page_of, send

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


def code_of(page: str, steps: int = 0) -> str:
    found = re.search(r'id="secret">([A-Z2-7 ]{40})<', page)
    assert found is not None
    return factors.code_at(b32decode(found[1].replace(" ", "")), int(time.time()) // 30 + steps)


async def password(asks: Asker) -> Browser:
    browser = Browser(asks)
    came = await browser.post("/login", {"name": "ann", "password": PASSWORD, "back": "/queue"})
    assert (came.status, came.headers["location"]) == (303, "/login/factor?back=%2Fqueue")
    return browser


def test_a_password_without_the_factor_gets_in_nowhere_and_a_replayed_code_fails(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert "/login/factor" in await page_of(browser, "/me")
        page = await page_of(browser, "/login/factor?back=/me")
        first, second = code_of(page), code_of(page, 1)
        assert (await browser.post("/login/factor", {"code": first, "back": "/me"})).status == 403, "no password"
        shown = await browser.post("/login/factor", {"code": first, "password": PASSWORD, "back": "/me"})
        codes = re.findall(r'<li class="mono">([A-Z2-7-]{19})</li>', shown.body.decode())
        assert len(codes) == factors.RECOVERY_CODES
        assert (await browser.get("/me")).status == 200
        assert codes[0] not in await page_of(browser, "/me")

        half = await password(asks)
        cookie = {"cookie": f"shroff_session={half.cookies['shroff_session']}"}
        for at, route in enumerate(table(asks.service.project.definitions)):
            path = re.sub(r"{\w+(:\w+)?}", "x", route.path)
            if path.lstrip("/").startswith(tuple(OPEN_BELOW)) or path.removeprefix("/api/v1/").startswith(
                tuple(OPEN_BELOW)
            ):
                continue
            address = f"10.0.{at // 250}.{at % 250}"  # of one address, each unknown caller waits for the one before
            found = await asks.ask(route.method, path, key="", headers=cookie, address=address)
            is_out = found.status == 401 or found.headers.get("location", "").startswith("/login")
            assert is_out, (route.method, path, found.status)
        assert (await half.get("/me")).headers["location"] == "/login?back=%2Fme"

        replayed = await half.post("/login/factor", {"code": first})
        assert replayed.status == 403
        assert b"was used before" in replayed.body
        assert (await half.get("/me")).status == 303
        came = await half.post("/login/factor", {"code": second, "back": "/queue"})
        assert (came.status, came.headers["location"]) == (303, "/queue")
        assert (await half.get("/me")).status == 200
        again = await password(asks)
        assert (await again.post("/login/factor", {"code": second})).status == 403
        elsewhere = await again.post("/login/factor", {"code": codes[0]}, origin="https://evil.test")
        assert elsewhere.status == 403
        assert (await again.post("/login/factor", {"code": codes[0]})).status == 303
        for browser_without in (Browser(asks), again):
            kept = browser_without.cookies.get("shroff_session")
            browser_without.cookies.clear()
            assert (await browser_without.get("/login/factor")).headers["location"] == "/login"
            browser_without.cookies.update({"shroff_session": kept} if kept else {})

        user = (await call(browser, "GET", "/api/v1/users")).json()["users"][0]
        assert user["second_factor"] is True
        assert b"your own second factor" in (await send(browser, "/settings/users/ann", do="factor")).body.lower()
        assert "Code of your own" in await page_of(browser, "/settings/users")
        assert (await send(browser, "/settings/users/ann", do="factor", code=codes[1])).status == 303
        assert (await browser.get("/me")).status == 303, "all sessions ended"
        plain = Browser(asks)
        assert (await plain.post("/login", {"name": "ann", "password": PASSWORD})).headers["location"] == "/"

    run(bank, steps)


def test_a_role_that_needs_it_is_asked_to_set_it_up_and_a_key_is_not(bank):
    with (bank / "shroff.yaml").open("a") as file:
        file.write("\nsign_in: { second_factor: [admin] }\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await browser.get("/me")).status == 303, "the link made ann, and let nobody in yet"
        page = await page_of(browser, "/login/factor")
        assert "Your role needs a second factor" in page
        assert re.search(r'href="otpauth://totp/shroff:ann\?secret=[A-Z2-7]{32}&amp;issuer=shroff"', page)
        assert (await browser.post("/login/factor", {"code": "000000"})).status == 403
        assert (await browser.post("/login/factor", {"code": code_of(page)})).status == 200
        made = (await call(browser, "POST", "/api/v1/keys", {"name": "till", "role": "service"})).json()
        assert (await asks.ask("GET", "/metrics", key=made["key"])).status == 200
        off = await browser.post("/login/factor", {"code": code_of(page, 1), "do": "end", "back": "/me"})
        assert off.headers["location"].startswith("/login/factor")
        assert "Your role needs a second factor" in await page_of(browser, "/login/factor")
        assert (await browser.get("/me")).status == 303

    run(bank, steps)


def test_a_user_ends_own_sessions_one_or_all_others(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        others = [Browser(asks), Browser(asks), Browser(asks)]
        for other in others:
            await other.post("/login", {"name": "ann", "password": PASSWORD})
            agent = "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0"
            assert (await other.get("/me", **{"user-agent": agent})).status == 200
        page = await page_of(browser, "/me")
        assert page.count("Firefox on Windows") == 3
        ids = re.findall(r'name="id" value="([0-9a-f]{16})"', page)
        assert len(ids) == 3
        assert (await send(browser, "/me/sessions", id=ids[0])).status == 303
        assert (await send(browser, "/me/sessions", id="0" * 16)).status == 400
        assert [(await other.get("/me")).status for other in others].count(303) == 1
        assert (await send(browser, "/me/sessions")).headers["location"] == "/me?said=ended"
        assert [(await other.get("/me")).status for other in others] == [303] * 3
        assert (await browser.get("/me")).status == 200
        ended = (await call(browser, "DELETE", "/api/v1/users/ann/sessions")).json()
        assert ended["user"]["name"] == "ann"
        assert (await browser.get("/me")).status == 303

    run(bank, steps)
