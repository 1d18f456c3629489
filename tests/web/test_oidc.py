"""Signing in at a real OpenID provider by the pages, and whoever means to misuse the way there and back."""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from shroff.adapters.people.oidc import Clocks, OidcProvider
from shroff.config import TEMPLATE_FOLDER
from shroff.people import directory, oidc, users
from shroff.people.access import Right, Role, Who
from shroff.people.store import Visit, rows_of
from shroff.runtime.values import replace
from shroff.web.http.authentication import COOKIE, gate_of
from shroff.web.pages.login import VISIT
from tests.support.providers import claimed, provider_started, sent_back
from tests.support.webs import Answered, Asker, Browser, Steps, asker

pytestmark = pytest.mark.slow

TEMPLATE = TEMPLATE_FOLDER / "payments"
PUBLIC = "https://fraud.bank.example"
BEGIN = "/login/oidc/begin"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider_started() as found:
        claimed(found, "ann", name="Ann Lee", preferred_username="ann", groups=["fraud-team"])
        claimed(found, "eve", preferred_username="eve", groups=["gardeners"])
        yield found


@pytest.fixture
def bank(tmp_path: Path, issuer: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OIDC_SECRET", "s3cret")
    folder = shutil.copytree(TEMPLATE, tmp_path / "bank")
    client = "client_id: shroff, client_secret: '${OIDC_SECRET}'"
    with (folder / "shroff.yaml").open("a") as file:
        file.write(f"sign_in: {{ oidc: {{ issuer: '{issuer}', {client}, roles: {{ fraud-team: analyst }} }} }}\n")
    return folder


def run(folder: Path, steps: Steps) -> None:
    async def whole() -> None:
        async with asker(folder, gate=gate_of) as asks:
            await steps(asks, Browser(asks))

    asyncio.run(whole())


def use(asks: Asker, provider: OidcProvider) -> None:
    asks.service.by_settings = replace(asks.service.by_settings, provider=provider)


async def begun(browser: Browser, back: str = "/") -> str:
    """Where the service sends the browser."""
    found = await browser.get(f"{BEGIN}?{urlencode({'back': back})}")
    assert found.status == 303
    return found.headers["location"]


async def at_provider(url: str, subject: str) -> str:
    """The path at the service to which the provider sends a browser, with what it says behind."""
    parts = urlsplit(await asyncio.to_thread(sent_back, url, subject))
    return f"{parts.path}?{parts.query}"


def changed(address: str, **values: str) -> str:
    """The same address, with other values in its query."""
    parts = urlsplit(address)
    return parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | values)).geturl()


async def signed_in(browser: Browser) -> bool:
    return (await browser.get("/me")).status == 200


def refused(found: Answered, words: str) -> None:
    """Whoever came is told why, on the page to sign in by, and has no session."""
    assert (found.status, found.cookies) == (403, ())
    assert re.search(words, found.body.decode())


def test_somebody_signs_in_by_the_provider_and_comes_to_the_page_that_they_wanted(bank, issuer):
    async def steps(asks: Asker, browser: Browser) -> None:
        assert urlsplit(issuer).hostname in (await browser.get("/login")).body.decode()
        asked = await begun(browser, "/decisions?outcome=review")
        assert parse_qs(urlsplit(asked).query)["redirect_uri"] == ["http://shroff.test/login/oidc"]
        back = await browser.get(await at_provider(asked, "ann"))
        assert (back.status, back.headers["location"]) == (303, "/decisions?outcome=review")
        assert "Ann Lee" in (await browser.get("/me")).body.decode()
        (made,) = await asyncio.to_thread(users.all_users, asks.service.desk)
        assert (made.name, made.role) == ("ann", Role.ANALYST)
        assert "user.add" in {row.action for row in rows_of(asks.service.desk.store)}

    run(bank, steps)


@pytest.mark.parametrize(
    "path, back", [(f"/{'a' * 1_998}", f"/{'a' * 1_998}"), (f"/{'a' * 1_999}", "/"), ("//elsewhere", "/"), ("", "/")]
)
def test_the_page_behind_a_sign_in_is_of_this_service_and_no_longer_than_a_cookie_holds(path, back):
    assert oidc.back_of(path) == back


def test_a_state_that_was_forged_or_left_out_opens_nothing(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        for state in ("forged", ""):
            back = await at_provider(await begun(browser), "ann")
            refused(await browser.get(changed(back, state=state)), "not to the question")
            refused(await browser.get(back), "has ended")  # the right one comes too late then
        assert not await signed_in(browser)

    run(bank, steps)


def test_a_nonce_of_another_visit_opens_nothing(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        asked = await begun(browser)
        back = await at_provider(changed(asked, nonce="of-another-visit"), "ann")
        refused(await browser.get(back), "nonce")
        assert not await signed_in(browser)
        assert await asyncio.to_thread(users.all_users, asks.service.desk) == []

    run(bank, steps)


def test_what_the_provider_said_counts_once(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        asked = await begun(browser)
        cookies = dict(browser.cookies)
        back = await at_provider(asked, "ann")
        assert (await browser.get(back)).status == 303
        thief = Browser(asks)
        thief.cookies = cookies  # the visit's, as it was
        refused(await thief.get(back), "has ended")
        code = parse_qs(urlsplit(back).query)["code"][0]
        asked = await begun(thief)
        state = parse_qs(urlsplit(asked).query)["state"][0]
        refused(await thief.get(f"{oidc.PATH}?{urlencode({'state': state, 'code': code})}"), "invalid_grant|nonce")
        assert not await signed_in(thief)

    run(bank, steps)


def test_the_way_back_of_another_browser_opens_nothing(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        victim = Browser(asks)
        back = await at_provider(await begun(browser), "ann")  # somebody's own, sent to the victim as a link
        refused(await victim.get(back), "another browser")
        await begun(victim)
        refused(await victim.get(back), "not to the question")
        assert not await signed_in(victim)
        assert (await browser.get(back)).status == 303  # whom it belongs to is let in

    run(bank, steps)


def test_who_has_no_role_or_was_not_let_in_is_told_so(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        refused(await browser.get(await at_provider(await begun(browser), "eve")), "no role here")
        refused(
            await browser.get(f"{oidc.PATH}?error=access_denied&error_description=<script>"),
            "Sign-in with the provider failed",
        )
        assert await asyncio.to_thread(users.all_users, asks.service.desk) == []

    run(bank, steps)


@pytest.mark.parametrize(("ahead_s", "is_let_in"), [(-45, True), (45, True), (-600, False), (30 * 86_400, False)])
def test_clocks_may_differ_by_a_minute_and_no_more(bank, issuer, ahead_s, is_let_in):
    roles = {"fraud-team": Role.ANALYST}
    told = {"issuer": issuer, "client_id": "shroff", "secret": "s3cret", "claim": "groups", "roles": roles}

    async def steps(asks: Asker, browser: Browser) -> None:
        use(asks, OidcProvider(**told, clocks=Clocks(lambda: time.time() + ahead_s)))
        found = await browser.get(await at_provider(await begun(browser), "ann"))
        assert found.status == (303 if is_let_in else 403)
        assert await signed_in(browser) == is_let_in

    run(bank, steps)


def test_a_session_that_was_planted_ends_where_somebody_signs_in(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        await browser.get(await at_provider(await begun(browser), "ann"))
        planted = browser.cookies[COOKIE]
        other = Browser(asks)
        other.cookies[COOKIE] = planted
        await other.get(await at_provider(await begun(other), "ann"))
        assert other.cookies[COOKIE] != planted
        assert not await signed_in(browser)

    run(bank, steps)


def test_a_provider_that_is_away_is_told_on_the_page_to_sign_in_by(bank):
    roles = {"fraud-team": Role.ANALYST}
    told = {
        "issuer": "http://127.0.0.1:9",
        "client_id": "shroff",
        "secret": "s3cret",
        "claim": "groups",
        "roles": roles,
    }

    async def steps(asks: Asker, browser: Browser) -> None:
        use(asks, OidcProvider(**told))
        found = await browser.get(BEGIN)
        assert found.status == 503
        assert "cannot be reached" in found.body.decode()
        assert "s3cret" not in found.body.decode()

    run(bank, steps)


# ---- the public address


def test_where_an_address_is_set_nothing_that_a_request_says_of_it_counts(bank):
    with (bank / "shroff.yaml").open("a") as file:
        file.write(f"web: {{ url: {PUBLIC}/ }}\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        spoofed = {"host": "evil.example", "x-forwarded-proto": "http"}
        found = await browser.get(BEGIN, **spoofed)
        asked = parse_qs(urlsplit(found.headers["location"]).query)
        assert asked["redirect_uri"] == [f"{PUBLIC}/login/oidc"]
        assert found.headers["set-cookie"].startswith(VISIT)
        assert found.headers["set-cookie"].endswith("; Secure")
        back = await browser.get(await at_provider(found.headers["location"], "ann"), **spoofed)
        assert back.status == 303
        form = {"name": "ann", "password": "no such"}
        for origin, status in ((PUBLIC, 403), ("http://shroff.test", 403), ("https://evil.example", 403)):
            answer = await browser.post("/login", form, origin=origin, host="evil.example")
            assert answer.status == status
            assert (b"password is wrong" in answer.body) == (origin == PUBLIC)

    run(bank, steps)


@pytest.mark.parametrize(
    ("url", "origin"), [("https://Bank.example:443", "https://bank.example"), ("http://h:80/", "http://h")]
)
def test_origins_are_compared_as_browsers_write_them(bank, url, origin):
    with (bank / "shroff.yaml").open("a") as file:
        file.write(f"web: {{ url: '{url}' }}\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        answer = await browser.post("/login", {"name": "ann", "password": "no such"}, origin=origin)
        assert b"password is wrong" in answer.body

    run(bank, steps)


def test_links_of_new_users_are_below_the_address_that_is_set(bank):
    with (bank / "shroff.yaml").open("a") as file:
        file.write(f"web: {{ url: {PUBLIC} }}\n")

    async def steps(asks: Asker, browser: Browser) -> None:
        from shroff.people import links

        link = await asyncio.to_thread(links.first, asks.service.desk, asks.service.project.context.who)
        assert link is not None
        form = {"name": "bo", "password": "correct horse battery", "again": "correct horse battery"}
        assert (await browser.post(link, form, origin=PUBLIC)).status == 303
        csrf = await browser.csrf()
        made = await browser.post("/settings/users", {"csrf": csrf, "name": "cy", "role": "analyst"}, origin=PUBLIC)
        assert f"{PUBLIC}/login/link/" in made.body.decode()

    run(bank, steps)


def test_who_was_sent_by_scim_signs_in_as_that_user_with_the_role_of_the_groups(bank):
    text = (bank / "shroff.yaml").read_text()
    (bank / "shroff.yaml").write_text(text.replace("sign_in: {", "sign_in: { scim: { roles: { auditors: viewer } },"))

    async def steps(asks: Asker, browser: Browser) -> None:
        desk = asks.service.desk
        key = Who("key", "key-scim", "okta", Role.ADMIN, frozenset({Right.PROVISION_USERS}))
        eve = b'{"userName": "Eve", "emails": [{"value": "eve@bank.example"}]}'
        sent = await asyncio.to_thread(directory.write, desk, key, "POST", "Users", "", eve)
        refused(await browser.get(await at_provider(await begun(browser), "eve")), "may not sign in any more")
        group = b'{"displayName": "auditors", "members": [{"value": "%s"}]}' % sent.id.encode()
        await asyncio.to_thread(directory.write, desk, key, "POST", "Groups", "", group)

        assert (await browser.get(await at_provider(await begun(browser), "eve"))).status == 303
        assert await signed_in(browser)
        (found,) = users.all_users(desk)
        assert (found.id, found.name, found.role, found.email) == (sent.id, "eve", Role.VIEWER, "eve@bank.example")
        assert found.subject

        off = b'{"Operations": [{"op": "Replace", "path": "active", "value": "False"}]}'
        await asyncio.to_thread(directory.write, desk, key, "PATCH", "Users", sent.id, off)
        assert not await signed_in(browser)
        refused(await browser.get(await at_provider(await begun(browser), "eve")), "may not sign in any more")

    run(bank, steps)


def test_nobody_begins_visits_at_any_pace_and_ended_ones_go(bank):
    async def steps(asks: Asker, browser: Browser) -> None:
        desk = asks.service.desk
        with desk.store.change() as change:
            change.put(Visit(b"old", "", "", "", "", desk.now_ms()))
        await begun(browser)
        with desk.store.look() as look:
            assert look.find(Visit, b"old") is None

        seen = [(await browser.get(BEGIN)).status for _ in range(200)]
        assert {303, 429} == set(seen)
        key = await browser.post("/login/passkey", {})
        assert key.status == 429

    run(bank, steps)
