"""Users, sessions, keys and the record, as pages and for programs; a credential is shown once."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.people import users
from shroff.people.access import Role
from shroff.people.store import token_hash
from tests.support.webs import PASSWORD, Answered, Asker, Browser, run

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "bank")
    return tmp_path / "bank"


async def send(browser: Browser, path: str, **form: str) -> Answered:
    return await browser.post(path, {"csrf": await browser.csrf(), **form})


async def call(browser: Browser, method: str, path: str, body: object = None) -> Answered:
    headers = {"x-csrf-token": await browser.csrf(), "content-type": "application/json", "accept": "*/*"}
    return await browser.send(method, path, b"" if body is None else msgspec.json.encode(body), headers)


async def page_of(browser: Browser, path: str) -> str:
    found = await browser.get(path)
    assert found.status == 200, found.body
    return found.body.decode()


# ---- users


def test_somebody_is_let_in_by_a_link_that_is_shown_once(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        made = await send(browser, "/settings/users", name="ben", role="analyst", display_name="Ben <b>", email="b@x.y")
        found = re.search(r"http://shroff\.test(/login/link/[0-9a-f]+)", made.body.decode())
        assert found is not None
        page = await page_of(browser, "/settings/users")
        assert found[1] not in page
        assert "Ben &lt;b&gt;" in page
        assert '<span class="warn">not set up</span>' in page
        other = Browser(asks)
        joined = await other.post(found[1], {"password": PASSWORD, "again": PASSWORD})
        assert joined.status == 303
        assert (await other.get("/")).headers["location"] == "/queue"
        assert (await other.get("/settings/users")).status == 403
        assert (await send(browser, "/settings/users", name="ben", role="analyst")).status == 422
        assert (await send(browser, "/settings/users", name="Not A Name", role="analyst")).status == 422
        assert (await send(browser, "/settings/users", name="cy", role="god")).status == 422

    run(bank, steps)


def test_a_role_is_changed_somebody_shut_out_and_removed_and_their_session_ends(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        me = asks.service.project.context.who
        await asyncio.to_thread(users.add, asks.service.desk, me, "ben", Role.ANALYST, password=PASSWORD)
        other = Browser(asks)
        await other.post("/login", {"name": "ben", "password": PASSWORD})
        assert (await send(browser, "/settings/users/ben", do="role", role="viewer")).status == 303
        assert (await other.get("/me")).status == 303
        await other.post("/login", {"name": "ben", "password": PASSWORD})
        assert (await send(browser, "/settings/users/ben", do="disable")).status == 303
        assert (await other.get("/me")).status == 303
        assert "Enable" in await page_of(browser, "/settings/users")
        assert "/login/link/" in (await send(browser, "/settings/users/ben", do="link")).body.decode()
        assert (await send(browser, "/settings/users/ben", do="enable")).status == 303
        assert (await send(browser, "/settings/users/ben", do="delete")).status == 303
        assert (await send(browser, "/settings/users/ben", do="role", role="viewer")).status == 422
        assert (await send(browser, "/settings/users/ann", do="dance")).status == 400
        for do, why in ("disable", b"is the only admin"), ("delete", b"nother admin has to remove you"):
            refused = await send(browser, "/settings/users/ann", do=do)
            assert refused.status == 422
            assert why in refused.body

    run(bank, steps)


def test_a_session_is_seen_without_its_token_and_ended_by_who_manages_users(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        other = Browser(asks)
        await other.post("/login", {"name": "ann", "password": PASSWORD})
        page = await page_of(browser, "/settings/users")
        ids = re.findall(r"/settings/sessions/([0-9a-f]+)", page)
        assert len(ids) == 2
        for case in (browser, other):
            assert case.cookies["shroff_session"] not in page
        listed = (await call(browser, "GET", "/api/v1/sessions")).json()["sessions"]
        assert {row["id"] for row in listed} == set(ids)
        assert (await send(browser, "/settings/sessions/0000")).status == 422
        first, second = (token_hash(item.cookies["shroff_session"]).hex()[:16] for item in (other, browser))
        assert {first, second} == set(ids)
        assert (await call(browser, "DELETE", f"/api/v1/sessions/{first}")).json()["session"]["user"] == "ann"
        assert (await other.get("/me")).status == 303
        assert (await send(browser, f"/settings/sessions/{second}")).headers["location"] == "/settings/users"
        assert (await browser.get("/me")).status == 303

    run(bank, steps)


def test_programs_manage_users_as_people_do(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        made = (await call(browser, "POST", "/api/v1/users", {"name": "ben", "role": "analyst"})).json()
        assert made["user"]["signs_in_by"] == "nothing"
        assert made["link"].startswith("/login/link/")
        changed = await call(browser, "PATCH", "/api/v1/users/ben", {"role": "author", "display_name": "Ben"})
        assert (changed.json()["user"]["role"], changed.json()["user"]["display_name"]) == ("author", "Ben")
        for wrong in ({"email": "b@x.example", "role": "god"}, {"display_name": "B", "email": "notmail"}):
            assert (await call(browser, "PATCH", "/api/v1/users/ben", wrong)).status == 400
        ann = await call(browser, "PATCH", "/api/v1/users/ann", {"email": "a@x.example", "role": "viewer"})
        assert b"is the only admin" in ann.body
        kept = (await call(browser, "GET", "/api/v1/users")).json()["users"]
        assert [(item["name"], item["email"], item["display_name"]) for item in kept] == [
            ("ann", "", "Ann Lee"),
            ("ben", "", "Ben"),
        ]
        cy = {"name": "cy", "role": "viewer", "email": "notmail"}
        assert (await call(browser, "POST", "/api/v1/users", cy)).status == 400
        assert (await call(browser, "PATCH", "/api/v1/users/ben", {"disabled": True})).json()["user"]["disabled"]
        again = (await call(browser, "POST", "/api/v1/users/ben/link")).status
        assert again == 200
        assert (await call(browser, "PATCH", "/api/v1/users/ben", {"password": "x"})).status == 422
        assert (await call(browser, "DELETE", "/api/v1/users/ben")).status == 200
        assert [user["name"] for user in (await call(browser, "GET", "/api/v1/users")).json()["users"]] == ["ann"]

    run(bank, steps)


# ---- keys


def test_a_key_is_shown_once_and_opens_nothing_once_it_is_revoked(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert "No API keys yet" in await page_of(browser, "/settings/keys")
        made = await send(browser, "/settings/keys", name="till", role="service", expires="90d", scopes="submit:events")
        found = re.search(r"shroff_([a-z0-9]{12})_[0-9a-f]{64}", made.body.decode())
        assert found is not None
        page = await page_of(browser, "/settings/keys")
        assert found[0] not in page
        assert "submit:events" in page
        assert (await asks.ask("GET", "/metrics", key=found[0])).status == 403
        assert (await send(browser, f"/settings/keys/{found[1]}")).headers["location"] == "/settings/keys"
        assert "revoked" in await page_of(browser, "/settings/keys")
        scoped = {"name": "x", "role": "viewer", "scopes": "a"}
        for form in ({"name": "", "role": "service"}, {"name": "x", "role": "god"}, scoped):
            assert (await send(browser, "/settings/keys", **form)).status == 422
        assert (await send(browser, "/settings/keys/none")).status == 422

    run(bank, steps)


def test_a_key_for_programs_is_made_by_programs(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        made = (
            await call(browser, "POST", "/api/v1/keys", {"name": "till", "role": "service", "expires": "1d"})
        ).json()
        assert made["key"].startswith(f"shroff_{made['id']}_")
        assert made["expires_at"] is not None
        listed = (await call(browser, "GET", "/api/v1/keys")).json()["keys"]
        assert "key" not in listed[0]
        assert (await call(browser, "DELETE", f"/api/v1/keys/{made['id']}")).json()["revoked_at"] is not None
        assert (
            await call(browser, "POST", "/api/v1/keys", {"name": "x", "role": "service", "expires": "0d"})
        ).status == 400

    run(bank, steps)


# ---- the record


def test_the_record_says_who_did_what_from_what_to_what(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await send(browser, "/settings/users", name="ben", role="analyst")
        await send(browser, "/settings/users/ben", do="role", role="viewer")
        page = await page_of(browser, "/settings/audit?action=user.role&subject=user+ben")
        assert "<del>analyst</del> <ins>viewer</ins>" in page
        assert "user.add" not in page
        assert "sign_in.by_password" not in await page_of(browser, "/settings/audit?who=nobody")
        assert (await browser.get("/settings/audit?from=soon")).status == 400
        rows = (await call(browser, "GET", "/api/v1/audit?action=user&limit=2")).json()
        assert [row["action"] for row in rows["rows"]] == ["user.role", "user.add"]
        assert (rows["rows"][0]["from"]["role"], rows["rows"][0]["to"]["role"]) == ("analyst", "viewer")
        rest = (await call(browser, "GET", f"/api/v1/audit?action=user.&limit=2&cursor={rows['next']}")).json()
        assert [(row["action"], row["name"]) for row in rest["rows"]] == [("user.add", "ann")]
        assert rest["next"] is None
        assert b"none changed or removed since it was recorded" in (await send(browser, "/settings/audit")).body
        assert (await call(browser, "POST", "/api/v1/audit/verify")).json()["ok"]

    run(bank, steps)


def test_settings_are_for_who_may_change_them(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert (await browser.get("/settings")).headers["location"] == "/settings/audit"
        me = asks.service.project.context.who
        await asyncio.to_thread(users.add, asks.service.desk, me, "art", Role.AUTHOR, password=PASSWORD)
        await browser.post("/login", {"name": "art", "password": PASSWORD})
        for path in ("/settings", "/settings/audit", "/settings/users", "/settings/keys"):
            assert (await browser.get(path)).status == 403
        assert 'href="/settings"' not in await page_of(browser, "/me")
        assert (await send(browser, "/settings/users", name="eve", role="admin")).status == 403
        assert (await send(browser, "/settings/users/art", do="role", role="admin")).status == 403
        assert (await send(browser, "/settings/keys", name="x", role="service")).status == 403

    run(bank, steps)
