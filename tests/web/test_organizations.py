"""Several projects in one service: what each shows to its own people, and nothing of it to those of another."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from msgspec.json import encode as to_json

from shroff.config import TEMPLATE_FOLDER
from shroff.errors import UsageError
from shroff.people import keys, users
from shroff.people.access import Role
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.jobs.worker import JobWorker
from shroff.web import organizations
from shroff.web.http import streaming
from shroff.web.http.asgi import Application, is_open
from shroff.web.http.authentication import Pace, gate_of
from shroff.web.http.routes import Route
from shroff.web.organizations import Organizations, projects_in
from shroff.web.service import ServiceOptions
from shroff.web.table import table
from tests.support.served import ME
from tests.support.webs import FORM, JSON, PASSWORD, Answered, Asker, Browser, asker
from tests.web.test_live import Listener

pytestmark = pytest.mark.slow

SECRET = "Zanzibar"  # in whatever south has that no address names
SHOWN = (
    "/api/v1/approvals",
    "/api/v1/audit",
    "/api/v1/cases/{id}",
    "/api/v1/entities/{entity}/{key}",
    "/api/v1/rules/drafted/draft",
    "/api/v1/users",
    "/cases/{id}",
    "/rules/{rule}",
    "/settings/keys",
)
SLOW = ("/stream", "/draft", "/experiments", "/openapi.json")  # streams do not end, drafts start a process
RULE = f"""
- id: southern
  on: payment
  by: card
  when: payment.amount > 0
  reason: "{SECRET}"
  effect: review
"""
DRAFT = RULE.strip().replace("southern", "drafted")
PAYMENT = {
    "payment_id": "p-south",
    "paid_at": "2026-01-05T08:30:00Z",
    "card": "c-south",
    "merchant": SECRET,
    "terminal": "t-00019",
    "amount": "24.90",
    "country": "DE",
    "channel": "pos",
}
IDS = {
    "event": "payment",
    "entity": "card",
    "key": "c-south",
    "law": "southern",
    "rule": "southern",
    "list": "southern",
    "file": "southern.yaml",
    "table": "southern",
    "etag": "0" * 64,
    "token": "0" * 64,
    "name": "ben",
    "value": "m-1",
    "source": "southern",
    "version": "1",
}


class Banks:
    """A service of three projects: `home`, where people sign in, and the organizations north and south."""

    def __init__(self, asks: Asker, served: Organizations, keys_of: dict[str, str]) -> None:
        self.asks, self.served, self.keys = asks, served, keys_of

    async def browser(self, name: str) -> Browser:
        """Somebody who is signed in."""
        browser = Browser(self.asks)
        found = await browser.post("/login", {"name": name, "password": PASSWORD, "back": "/"})
        assert found.status == 303, found
        return browser

    async def until(self, *names: str) -> None:
        """Wait until these organizations, and no other, decide."""
        for _ in range(2_400):
            if {name for name, application in self.served.running.items() if application.service.is_ready} == {
                "",
                *names,
            }:
                return
            await asyncio.sleep(0.05)
        raise AssertionError((self.served.running, self.asks.told))


def person(folder: Path, name: str, role: Role, password: str = PASSWORD) -> None:
    with app.open_exactly(folder).people.open() as desk:
        users.add(desk, ME, name, role, password=password, display_name=SECRET if folder.name == "south" else "")


@pytest.fixture(scope="module")
def banks_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = tmp_path_factory.mktemp("organizations")
    for folder in (home := whole / "home", north := whole / "banks/north", south := whole / "banks/south"):
        shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    (south / "rules/southern.yaml").write_text(RULE.lstrip())
    (south / "lists/southern.csv").write_text(f"value,note,added_by,expires_at\nm-1,{SECRET},,\n")
    with (south / "shroff.yaml").open("a", encoding="utf-8") as settings:
        settings.write("\nsecond_person: [lists]\n")
    (south / "drafts").mkdir()
    (south / "drafts/drafted.yaml").write_text(DRAFT)
    person(home, "ann", Role.MEMBER)
    person(home, "ben", Role.MEMBER)
    person(home, "eve", Role.MEMBER)
    person(north, "ann", Role.ADMIN, "")
    person(north, "ben", Role.VIEWER, "")
    person(south, "ben", Role.ADMIN, "")
    person(south, "zoe", Role.ADMIN, "")
    return whole


@pytest.fixture
def whole(banks_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(JobWorker, "begin", lambda _: None)  # jobs wait: nothing here needs their results

    async def cold(_: object) -> None:
        """Nothing is made ready."""

    monkeypatch.setattr(organizations, "keep_warm", cold)
    monkeypatch.setattr(Pace, "wait_s_of", lambda *_: 0.0)  # what strangers ask is not slowed down here
    monkeypatch.setattr(organizations, "AGAIN_S", 0.1)
    monkeypatch.setattr(organizations, "LOOKS_S", 0.1)
    shutil.copytree(banks_made, tmp_path / "whole")
    return tmp_path / "whole"


@asynccontextmanager
async def working(whole: Path, *names: str) -> AsyncIterator[Banks]:
    keys_of = {}
    for folder in (whole / "home", whole / "banks/north", whole / "banks/south"):
        with app.open_exactly(folder).people.open() as desk:
            keys_of[folder.name] = keys.create(desk, ME, SECRET if folder.name == "south" else "test", Role.ADMIN)[1]
    async with asker(whole / "home", gate=gate_of) as asks:
        served = Organizations(
            ServiceOptions(projects=partial(projects_in, whole / "banks", whole / "home")), asks.told.append
        )
        asks.service.options = replace(asks.service.options, organizations=served)
        served.running[""] = Application(asks.service, table(asks.service.project.definitions), asks.told.append)
        asks._application = served  # it is asked as an application is
        asks._schemas = SimpleNamespace(check=lambda *_: None)  # of many documents
        running = asyncio.create_task(served.run())
        try:
            banks = Banks(asks, served, keys_of)
            await banks.until(*names)
            yield banks
        finally:
            running.cancel()
            await asyncio.wait([running])


def run(whole: Path, steps: Callable[[Banks], Awaitable[None]], *names: str) -> None:
    async def all_() -> None:
        async with working(whole, *(names or ("north", "south"))) as banks:
            await steps(banks)

    asyncio.run(all_())


OTHER_IDS = ("c-south", "southern", "southern.yaml", "drafted", "zoe", "p-south", "payment/p-south", "m-1", "0" * 64)


async def seeded(banks: Banks) -> dict[str, str]:
    """Ids of what south has, by the names of parameters; `job`, `file_id`, `key_id`, `link` and `view` beside them."""

    async def south(method: str, path: str, body: object = b"", status: int = 200, media_type: str = JSON) -> Any:
        found = await banks.asks.ask(method, f"/o/south{path}", body, key=banks.keys["south"], media_type=media_type)
        assert found.status == status, found
        return found.json()

    assert (await south("POST", "/api/v1/events/payment", PAYMENT))["outcome"] == "review"
    for _ in range(2_400):
        if cases := (await south("GET", "/api/v1/cases"))["cases"]:
            break
        await asyncio.sleep(0.05)
    number = cases[0]["id"]
    await south("POST", f"/api/v1/cases/{number}/note", {"text": SECRET})
    await south("POST", f"/api/v1/cases/{number}/attach?name={SECRET}.txt", SECRET.encode(), media_type="text/plain")
    (file,) = (await south("GET", f"/api/v1/cases/{number}"))["files"]
    job = await south("POST", "/api/v1/jobs", {"kind": "report", "params": {"notice": "report"}}, 202)
    key = await south("POST", "/api/v1/keys", {"name": SECRET, "role": "viewer"})
    ben = await banks.browser("ben")
    token = {"x-csrf-token": await csrf_of(ben, "/o/south/queue"), "content-type": JSON}
    entry = to_json({"value": SECRET, "note": "stolen"})
    assert (await ben.send("POST", "/o/south/api/v1/lists/southern/entries", entry, token)).status == 200
    (approval,) = (await ben.get("/o/south/api/v1/approvals")).json()["approvals"]  # it waits for a second person
    why = await south("POST", "/api/v1/notices/why", {"event": "payment/p-south"})
    link = why["link"].rpartition("/")[2]
    more = {"etag": approval["etag"], "job": job["id"], "file_id": str(file["file"]), "key_id": key["id"], "link": link}
    return {**IDS, "id": str(number), **more}


def filled(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: ids[match[1]], path)


def shows(found: Answered) -> bool:
    """Whether anything of south is in an answer."""
    return SECRET.encode() in found.body or SECRET in str(found.headers)


async def csrf_of(browser: Browser, path: str) -> str:
    """The token of the forms of a page."""
    page = (await browser.get(path)).body.decode()
    found = re.search(r'name="csrf" content="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


def test_no_route_and_no_page_of_one_organization_answers_who_belongs_to_another_and_none_shows_anything_of_it(whole):
    async def steps(banks: Banks) -> None:
        ids, ask, ann, ben = await seeded(banks), banks.asks.ask, await banks.browser("ann"), await banks.browser("ben")
        token = {"x-csrf-token": await csrf_of(ann, "/o/north/queue"), "content-type": "application/json"}
        for path in SHOWN:  # else nothing were there to be seen
            assert shows(await ben.get(f"/o/south{filled(path, ids)}")), path
        for route in table(banks.served.running["south"].service.project.definitions):
            path, is_api = filled(route.path, ids), route.path.startswith("/api/")
            is_for_all = is_open(path) and not is_api
            by_key = await ask(route.method, f"/o/south{path}", b"{}", key=banks.keys["north"])
            assert by_key.status == 401 or is_for_all, (route, by_key)
            in_south = await ann.send(route.method, f"/o/south{path}", b"{}", token)
            assert in_south.status in {404, 403} or is_for_all, (route, in_south)
            assert not shows(by_key), route
            assert not shows(in_south), route
            if ("{" not in route.path and route.method != "GET") or route.path.endswith(SLOW):
                continue
            if is_api:
                in_north = await ask(route.method, f"/o/north{path}", b"{}", key=banks.keys["north"])
            else:
                in_north = await ann.send(route.method, f"/o/north{path}", b"{}", token)
            assert in_north.status < 500, (route, in_north)
            assert not shows(in_north), route

        await walked(banks, ids, 150)

    run(whole, steps)


@pytest.mark.long
def test_50_000_generated_calls_with_ids_of_another_organization_find_nothing_of_it(whole):
    async def steps(banks: Banks) -> None:
        await walked(banks, await seeded(banks), 50_000)

    run(whole, steps)


EMPTY = {"/api/v1/decisions/{event}/{id}/questions"}  # a list, with nothing in it
BODIES = (
    {},
    {"event": "payment/p-south", "verdict": "fraud", "source": "analyst"},
    {"cases": [1], "act": "claim"},
    {"entity": "card", "key": "c-south"},
    {"name": "southern", "role": "admin"},
    {"kind": "report", "params": {"event": "payment/p-south"}},
)
FIELDS = ("id", "name", "event", "key", "case", "rule", "list", "value", "etag", "to", "back", "note", "words")
LEFT_OUT = ("/me", "/login", *SLOW)  # an account's own pages, where a call may sign its caller out
LEFT_OUT_CHANGES = (
    "/lists",
    "/restore",
    "/backtests",
    "/draft/check",
    "/draft/count",
)  # what makes a list of such a name, or starts a process


async def walked(banks: Banks, ids: dict[str, str], count: int, seed: int = 7) -> None:
    """Ask so many times for a drawn route with drawn ids of south: by who has no role there, or in another place.

    Whoever is no member is refused. North and home have none of these ids: where one is in the path, 404.
    """
    drawn, people = random.Random(seed), {name: await banks.browser(name) for name in ("ann", "eve")}
    tokens = {place: await csrf_of(people["ann"], path) for place, path in (("north", "/o/north/queue"), ("", "/me"))}
    routes = [
        route
        for route in table(banks.served.running["south"].service.project.definitions)
        if not route.path.startswith(LEFT_OUT)
        and not route.path.endswith(SLOW)
        and "{version}" not in route.path
        and not (route.method != "GET" and route.path.endswith(LEFT_OUT_CHANGES))
    ]
    pool = [value for name, value in ids.items() if name not in {"event", "entity"}] + [*OTHER_IDS]
    told, shown = Counter[tuple[str, int]](), dict[str, Any]()
    for _ in range(count):
        route, place = drawn.choice(routes), drawn.choice(("south", "north", "north", ""))
        values = {name: drawn.choice((ids[name], drawn.choice(pool))) for name in re.findall(r"{(\w+)}", route.path)}
        path = filled(route.path, {name: quote(value, safe="") for name, value in values.items()})
        asked = (
            path
            if route.method != "GET" or not (route.told and route.told.query)
            else _with_query(drawn, route, path, pool)
        )
        where = f"/o/{place}{asked}" if place else asked
        caller = drawn.choice(("key", "ann", "key", "ann", "eve", ""))
        body = to_json(drawn.choice(BODIES))
        if caller == "key":
            key = banks.keys[drawn.choice(("north", "home")) if place == "south" else place or "home"]
            found = await banks.asks.ask(route.method, where, body, key=key)
        elif caller:
            token = {"x-csrf-token": tokens.get(place, "0" * 64), "content-type": FORM if route.is_page else JSON}
            form = urlencode({name: drawn.choice(pool) for name in FIELDS}).encode()
            found = await people[caller].send(route.method, where, form if route.is_page else body, token)
        else:
            found = await banks.asks.ask(route.method, where, body, key="")
        told[(place, found.status)] += 1
        is_for_all = is_open(path) and not path.startswith("/api/")
        is_own_link = route.path == "/confirm/{token}" and place == "south" and values["token"] == ids["link"]
        assert found.status < 500 or path == "/scim/v2/Bulk", (route, where, caller, found)
        assert is_own_link or not shows(found), (route, where, caller, found)
        if place == "south" and not is_for_all:
            assert found.status in {401, 403, 404} or found.headers["location"].startswith("/login"), (where, found)
        elif route.path == "/confirm/{token}" and place != "south":
            assert found.status in {404, 400}, (where, found)
        elif (
            route.method == "GET"
            and {"id", "token", "file", "list"} & values.keys()
            and found.status == 200
            and not is_own_link
        ):
            shown[route.path] = (where, caller, found)
    print(sorted(told.items()))
    assert shown.keys() <= EMPTY, shown
    assert (await people["ann"].get("/o/north/queue")).status == 200, "still signed in"


def _with_query(drawn: random.Random, route: Route, path: str, pool: list[str]) -> str:
    """The address with one or two names of its query."""
    names = drawn.sample(list(route.told.query), min(2, len(route.told.query)))
    return f"{path}?{urlencode({name: drawn.choice(pool) for name in names})}"


LOCAL = re.compile(r' (?:href|src|action|data-[a-z]+)="(/[^"]+)"')
BROKEN = "- id: [\n"


def test_people_have_a_role_in_each_and_one_that_fails_touches_no_other(whole, monkeypatch):
    """One service for all of it, since each start costs seconds."""
    shutil.copytree(whole / "banks/north", whole / "banks/west")
    rules = whole / "banks/west/rules/cards.yaml"
    well = rules.read_text()
    rules.write_text(BROKEN)

    async def steps(banks: Banks) -> None:
        ben, eve = await banks.browser("ben"), await banks.browser("eve")
        assert any(words.startswith("west: rules/cards.yaml") for words in banks.asks.told), banks.asks.told

        await shows_ways(ben, eve)
        await keeps_tokens_apart(ben)
        await tells_its_own_address(banks)
        await counts_under_its_name(banks)
        await tells_no_stranger_which_exist(banks)
        await ends_streams_with_the_role(banks, ben, monkeypatch)
        south = banks.served.running["south"].service
        await asyncio.to_thread(users.disable, south.desk, ME, "ben")
        assert [(await ben.get(path)).status for path in ("/o/south/results", "/o/north/results")] == [404, 200]
        await ben.post("/login/out", {"csrf": await csrf_of(ben, "/me")})
        assert (await ben.get("/o/north/results")).headers["location"] == "/login?back=%2Fo%2Fnorth%2Fresults"
        rules.write_text(well)
        await banks.until("north", "south", "west")
        shutil.copytree(whole / "banks/north", whole / "banks/east")  # a folder that comes while the service runs
        await banks.until("north", "south", "west", "east")
        assert ("east", "/o/east/") in banks.served.of("ben")
        gate = banks.served.running["north"].service.gate
        assert await asyncio.to_thread(gate.user, "ben") is not None
        await asyncio.to_thread(users.disable, banks.served.home.desk, ME, "ben")
        assert await asyncio.to_thread(gate.user, "ben") is None, "who may not sign in has no jobs that begin"
        ends.append((banks.served, sum(service.requests.counts.total() for service in banks.served.services[1:])))

    ends: list[tuple[Organizations, int]] = []
    run(whole, steps)
    ((served, requests),) = ends
    assert served.totals["requests"] == requests > 0  # which 'serve' tells at its end


async def shows_ways(ben: Browser, eve: Browser) -> None:
    """Each sees the organizations of theirs; the links of a page stay within its own."""
    assert (await ben.get("/")).headers["location"] == "/me"
    assert re.findall(r'href="(/o/[^"]*)"', (await ben.get("/me")).body.decode())[:2] == ["/o/north/", "/o/south/"]
    assert b"/o/" not in (await eve.get("/me")).body
    nowhere = (await eve.get("/o/nowhere/queue")).body.replace(b"nowhere", b"north")
    assert (await eve.get("/o/north/queue")).body == nowhere
    assert (await ben.get("/o/south")).headers["location"] == "/o/south/queue"
    page = (await ben.get("/o/south/rules")).body.decode()
    elsewhere = {path for path in LOCAL.findall(page) if not path.startswith(("/o/south/", "/static/"))}
    assert elsewhere == {"/me", "/o/north/"}


async def keeps_tokens_apart(ben: Browser) -> None:
    """The token of a form of one is refused in the other, though the same person may do it in both."""
    other, own = await csrf_of(ben, "/o/north/rules"), await csrf_of(ben, "/o/south/rules")
    assert other != own
    for token, status in ((other, 403), (await csrf_of(ben, "/me"), 403), (own, 303)):
        assert (await ben.post("/o/south/queue/claim-next", {"csrf": token})).status == status


async def tells_its_own_address(banks: Banks) -> None:
    """Links lead below the organization; that of a new user to the sign-in, as nobody has a password elsewhere."""
    service, head = banks.served.running["south"].service, {"host": "fraud.test"}
    asked = {"name": "new", "role": "viewer"}
    url = (await banks.asks.ask("POST", "/o/south/api/v1/users", asked, key=banks.keys["south"], headers=head)).json()[
        "url"
    ]
    assert url.startswith("http://fraud.test/o/south/login/link/")
    link = url.removeprefix("http://fraud.test")
    assert (await banks.asks.ask("GET", link, key="")).headers["location"] == "/login"
    assert (await banks.asks.ask("GET", link.removeprefix("/o/south"), key="")).status == 404
    assert service.project.context.served_at.endswith("/o/south")


async def counts_under_its_name(banks: Banks) -> None:
    """Metrics have the organization as a label, and nothing of the process that it shares."""
    page = (await banks.asks.ask("GET", "/o/south/metrics", key=banks.keys["south"])).body.decode()
    lines = [line for line in page.splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if 'organization="south"' not in line] == []
    refused = [
        (key, (await banks.asks.ask("GET", "/o/south/metrics", key=banks.keys[key])).status) for key in banks.keys
    ]
    assert refused == [("home", 401), ("north", 401), ("south", 200)]
    assert b"south" not in (await banks.asks.ask("GET", "/o/north/metrics", key=banks.keys["north"])).body
    assert "process_cpu" in (await banks.asks.ask("GET", "/metrics", key=banks.keys["home"])).body.decode()


OPEN_TO_ALL = (
    "GET /health/ready",
    "GET /health/",
    "GET /hooks/x",
    "POST /hooks/x",
    "POST /hooks/x/y",
    "GET /confirm/abc",
    "POST /confirm/abc",
    "GET /static/1/page.js",
    "GET /static/",
    "GET /login/x",
    "GET /metrics",
    "GET /api/openapi.json",
    "POST /api/v1/events/payment",
    "GET /",
)


async def tells_no_stranger_which_exist(banks: Banks) -> None:
    """Whoever has neither key nor session gets the same answer below the name of each organization and of none."""
    for call in OPEN_TO_ALL:
        method, path = call.split()
        for accept in ("application/json", "text/html"):
            answers = []
            for name in ("north", "nowhere"):
                found = await banks.asks.ask(method, f"/o/{name}{path}", key="", headers={"accept": accept})
                headers = {**found.headers, "server-timing": ""}
                headers["content-length"] = str(len(found.body.replace(name.encode(), b"")))
                answers.append((found.status, str(headers).replace(name, ""), found.body.replace(name.encode(), b"")))

            assert answers[0] == answers[1], (call, accept)


async def ends_streams_with_the_role(banks: Banks, ben: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that is taken away in an organization ends the streams that its user has open there."""
    monkeypatch.setattr(streaming, "CHECKED_EVERY_S", 0.05)
    desk = banks.served.running["south"].service.desk
    streams = [
        Listener(banks.asks, ben, f"/o/south/{path}", application=banks.served)
        for path in ("live/stream", "queue/stream")
    ]
    for stream in streams:
        await stream.until(lambda stream=stream: bool(stream.heard))
    await asyncio.to_thread(users.set_role, desk, ME, "ben", Role.MEMBER)
    async with asyncio.timeout(120):
        await asyncio.gather(*[stream.task for stream in streams])
    assert (await ben.get("/o/south/live")).status == 403
    await asyncio.to_thread(users.set_role, desk, ME, "ben", Role.ADMIN)


def test_a_folder_that_holds_no_project_or_one_whose_name_is_no_address_is_refused(tmp_path):
    (tmp_path / "Bank A").mkdir()
    with pytest.raises(UsageError, match=r"shroff init .*/NAME --template payments"):
        projects_in(tmp_path, tmp_path / "home")
    (tmp_path / "Bank A/shroff.yaml").write_text("name: x\n")
    with pytest.raises(UsageError, match=r"Bank A is no organization: .* rename the folder"):
        projects_in(tmp_path, tmp_path / "home")
