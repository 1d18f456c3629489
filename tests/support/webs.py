"""A service inside of the test: its application is asked over ASGI, with no socket between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from shroff.errors import SignInError
from shroff.people import links, users
from shroff.people.access import RIGHTS, Right, Role, Who
from shroff.people.store import ApiKey, Desk
from shroff.services import project as app
from shroff.services.jobs.worker import JobWorker, command_of
from shroff.web.http.address import origin_of
from shroff.web.http.asgi import Application
from shroff.web.http.authentication import Gate as GateContract
from shroff.web.http.authentication import gate_of
from shroff.web.http.routes import Route
from shroff.web.service import Limits, Service, ServiceOptions
from shroff.web.table import table
from tests.support import forks
from tests.support.answered import Schemas
from tests.support.patience import PATIENCE_S

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PASSWORD = "correct horse battery"


def who(role: Role, rights: frozenset[Right] | None = None) -> Who:
    """Somebody of this role, by a key."""
    return Who("key", f"key-{role.value}", role.value, role, RIGHTS[role] if rights is None else rights)


class Gate:
    """Knows a key for each role, its name; one that has no right at all: `nothing`; a `person` and `another`."""

    def __init__(self) -> None:
        self.known = {role.value: who(role) for role in Role} | {"nothing": who(Role.VIEWER, frozenset())}
        self.known["person"] = Who("user", "user-7", "ann", Role.ADMIN, RIGHTS[Role.ADMIN])
        self.known["another"] = Who("user", "user-8", "ben", Role.AUTHOR, RIGHTS[Role.AUTHOR])
        self.sessions: dict[str, Any] = {}
        self.asked: list[str] = []  # by which tokens somebody might be signed in

    def at_hand(self, key: str) -> Who | None:
        return self.known.get(key)

    def who(self, key: str) -> Who:
        if key not in self.known:
            raise SignInError("this key is not known")
        return self.known[key]

    def signed_in(self, token: str, *, is_use: bool = True, device: str = "") -> Any:
        self.asked.append(token)
        return self.sessions.get(token)


@contextmanager
def known_keys(desk: Desk) -> Iterator[GateContract]:
    """A gate that knows the key of each role, whoever is at the desk."""
    yield Gate()


async def owned(asks: Asker, key: str, by: str) -> Who:
    """Let a new user have made the key of a role; gives the user, an admin."""

    def step() -> Who:
        desk, admin = asks.service.desk, asks.service.project.context.who
        user = users.add(desk, admin, by, Role.ADMIN, password=PASSWORD)
        with desk.store.change() as change:
            change.put(ApiKey(key, key, b"", Role(key), (), 0, by, None))
        return Who("user", user.id, by, Role.ADMIN, RIGHTS[Role.ADMIN])

    return await asyncio.to_thread(step)


@asynccontextmanager
async def working(asks: Asker, *keys: str) -> AsyncIterator[None]:
    """Run the jobs of a service; those who start some by a key must be in its store."""
    for key in keys:
        await owned(asks, key, f"maker-of-{key}")
    folder = asks.service.project.context.paths.folder
    worker = JobWorker(asks.service.jobs, command_of(str(folder)), asks.told.append)
    worker.begin()
    try:
        yield
    finally:
        await asyncio.to_thread(worker.end)


forks.make_patient(setattr)


@dataclass(slots=True)
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Asker:
    """Asks an application, as an admin if nothing else is said. Each answer is held against the OpenAPI document."""

    def __init__(self, service: Service, routes: Sequence[Route] = ()) -> None:
        self.service, self.told = service, list[str]()
        routes = routes or table(service.project.definitions)
        self._application = Application(service, routes, self.told.append)
        self._schemas = Schemas(routes, service.project.definitions)

    async def ask(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        key: str = "admin",
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> Answered:
        bare, _, query = path.partition("?")  # as it is: //a/b is not an address of a host here
        sent = body if isinstance(body, bytes) else msgspec.json.encode(body)
        given = {"content-type": media_type, **({"authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": bare,
            "raw_path": bare.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": (address, 1),
        }
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": sent, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self._application(scope, receive, send)
        start, *parts = messages
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        cookies = tuple(value.decode() for name, value in start["headers"] if name == b"set-cookie")
        answered = Answered(start["status"], found, b"".join(part["body"] for part in parts), cookies)
        self._schemas.check(method, bare, answered)
        return answered


class Browser:
    """Somebody's browser: it has what the service gave it as a cookie, and sends forms as browsers do."""

    def __init__(self, asks: Asker) -> None:
        self.asks, self.cookies = asks, dict[str, str]()
        self._csrf = ("", "")
        self.origin = origin_of(asks.service.address.public or "http://shroff.test")

    async def get(self, path: str, **headers: str) -> Answered:
        return await self.send("GET", path, b"", headers)

    async def post(self, path: str, form: Mapping[str, str], **headers: str) -> Answered:
        sent = {"content-type": FORM, "origin": self.origin, **headers}
        return await self.send("POST", path, urlencode(form).encode(), sent)

    async def csrf(self) -> str:
        """What a form of this session carries: as a page asks for it, since no page is rendered; once a session."""
        session = str(self.cookies)
        if self._csrf[0] != session:
            found = (await self.get("/login/session")).json()["csrf"]
            assert found
            self._csrf = str(self.cookies), found
        return self._csrf[1]

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {"host": self.origin.partition("//")[2], "accept": "text/html,*/*", "cookie": cookie, **headers}
        found = await self.asks.ask(method, path, body, key="", headers=given)
        for cooky in found.cookies:
            name, _, value = cooky.partition(";")[0].partition("=")
            self.cookies[name] = value
        return found


@asynccontextmanager
async def asker(
    folder: Path,
    limits: Limits | None = None,
    gate: Callable[[Desk], AbstractContextManager[GateContract]] = known_keys,
    now_ms: Callable[[], int] | None = None,
) -> AsyncIterator[Asker]:
    """A service on this project, that leads its log, and what asks it.

    Args:
        now_ms: Another clock than today's, for all but how long somebody is signed in.
    """
    project, told = app.open_exactly(folder), list[str]()
    with ThreadPoolExecutor(4) as threads, project.people.open() as desk, gate(desk) as at_gate:
        project.context.now_ms = now_ms or project.context.now_ms
        routes = table(project.definitions)
        options = ServiceOptions(limits or Limits(age_s_max=PATIENCE_S))
        service = Service(project, at_gate, desk, threads, options, routes=routes, tell=told.append)
        service.begin(lambda: None)
        try:
            for _ in range(12_000):
                if service.is_ready or service._error is not None:
                    break
                await asyncio.sleep(0.05)  # for long where no kernel is on the disk yet: the first test compiles them
            assert service.is_ready, (told, service.state, service._error)
            found = Asker(service, routes)
            found.told = told
            yield found
        finally:
            await asyncio.to_thread(service.end)


Steps = Callable[[Asker, Browser], Awaitable[None]]


async def first_link(asks: Asker) -> str:
    """The link by which the first admin comes in."""
    found = await asyncio.to_thread(links.first, asks.service.desk, asks.service.project.context.who)
    assert found is not None
    return found


async def let_in(asks: Asker, browser: Browser) -> None:
    """The first admin, by the link."""
    form = {"name": "ann", "display_name": "Ann Lee", "password": PASSWORD, "again": PASSWORD}
    assert (await browser.post(await first_link(asks), form)).headers["location"] in {
        "/queue",
        "/login/factor?back=%2Fqueue",
    }


def run(folder: Path, steps: Steps) -> None:
    """Steps of the first admin of a service, `ann`, who is signed in."""

    async def whole() -> None:
        async with asker(folder, gate=gate_of) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            await steps(asks, browser)

    asyncio.run(whole())
