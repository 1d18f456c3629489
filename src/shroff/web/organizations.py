"""Several projects in one service: each at its own path with its own log, writer, limits and keys; one sign-in."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from logging import INFO, WARNING
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse
from starlette.types import Receive, Scope, Send

from shroff.config import PROJECT_FILE
from shroff.errors import ShroffError, UsageError
from shroff.people.access import Right
from shroff.people.keys import KeyRing
from shroff.people.sessions import SignedIn
from shroff.people.store import Desk, User
from shroff.people.users import as_who
from shroff.runtime.logs import Told, failure
from shroff.runtime.values import replace
from shroff.services import project as app
from shroff.services.jobs.worker import JobWorker, command_of
from shroff.services.project_files import checked
from shroff.web.api.rules.changes import keep_applied
from shroff.web.http.asgi import Application
from shroff.web.http.authentication import Gate
from shroff.web.metrics_port import service_port
from shroff.web.service import THREADS, Service, ServiceOptions
from shroff.web.table import table
from shroff.web.work.operation_processes import DraftCheckers
from shroff.web.work.warmup import keep_warm

if TYPE_CHECKING:
    from shroff.services.project import Project

HOME = ""  # what stands for the name of the project of the sign-in
BELOW = "/o"  # the organizations, each at its name
AGAIN_S = 5.0  # between tries to open a failed project
LOOKS_S = 5.0  # between looks for new folders
AT_HOME = ("/login/", "/me/")  # beginnings of paths that only the project of the sign-in has
OF_SERVICE = b"/health/", b"/static/"  # the same below each name, so that nobody learns which organizations exist
NO_HOOK = b"/hooks/-"  # no source has this name
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PATH = re.compile(rb"/o(?:/([a-z0-9_-]*)(/[^?]*)?)?(?=\?|$)")


def projects_in(folder: Path, home: Path) -> dict[str, Path]:
    """The projects in a folder by their organizations' names, which are those of their folders.

    Raises: UsageError where there is none, or a name is none.
    """
    found = {path.parent.name: path.parent.resolve() for path in sorted(folder.glob(f"*/{PROJECT_FILE}"))}
    found = {name: path for name, path in found.items() if path != home}
    if not found:
        raise UsageError(f"{folder} holds no project. Make one: shroff init {folder}/NAME --template payments")
    for name in found:
        if not _NAME.fullmatch(name):
            words = "a name has small letters, digits, '_' and '-', 40 at most; rename the folder"
            raise UsageError(f"{found[name]} is no organization: {words}.")
    return found


def _at(scope: Scope, path: bytes) -> Scope:
    return {**scope, "path": path.decode("latin-1"), "raw_path": path}


class OrganizationGate(Gate):
    """The gate of an organization: its own keys, and people of the sign-in who are users here, by their names.

    Args:
        name: The organization; CSRF tokens are different in each.
        home: Knows the sessions.
    """

    def __init__(self, desk: Desk, ring: KeyRing, name: str, home: Gate) -> None:
        super().__init__(desk, ring)
        self._name = name
        self._home = home

    def user(self, name: str) -> User | None:
        """The user of this name here who may sign in at home. May wait for both stores."""
        return super().user(name) if self._home.user(name) is not None else None

    def signed_in(self, token: str, *, is_use: bool = True, device: str = "") -> SignedIn | None:
        """The user of this session here; None also where the person has no role here, or lacks the second factor."""
        found = self._home.signed_in(token, is_use=is_use, device=device)
        user = None if found is None else super().user(found.user.name)
        needs_factor = user is not None and user.role in self._desk.settings.second_factor
        if found is None or user is None or (needs_factor and not found.user.has_second_factor):
            return None
        user = replace(user, zone=found.user.zone, theme=found.user.theme)
        own = hashlib.sha256(f"{self._name} {token}".encode()).hexdigest()
        return SignedIn(as_who(user), user, own, found.ends_at_ms)


@asynccontextmanager
async def working(
    project: Project,
    gate: Gate,
    desk: Desk,
    options: ServiceOptions,
    *,
    tell: Callable[[str], None],
    ended: Callable[[], None],
) -> AsyncIterator[Application]:
    """Run the service of one project; `ended` is called when the project has stopped working.

    Raises: whatever ended the work by itself, at the end.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="read") as threads, closing(DraftCheckers(project)) as checkers:
        hidden = AT_HOME if options.base else ()
        routes = [route for route in table(project.definitions) if not f"{route.path}/".startswith(hidden)]
        service = Service(project, gate, desk, threads, replace(options, check=checkers.run), routes=routes, tell=tell)
        service.begin(ended)
        command = command_of(str(project.context.paths.folder))
        worker = JobWorker(service.jobs, command, tell, lambda name: gate.user(name) is not None)
        chores: list[asyncio.Task[None]] = []
        try:
            await service.has_begun()
            worker.begin()
            chores += [asyncio.create_task(keep_warm(service))]
            chores += [asyncio.create_task(keep_applied(service))] if options.watches else []
            with service_port(service):
                yield Application(service, routes, tell)
        finally:
            for chore in chores:
                chore.cancel()
            await asyncio.to_thread(worker.end)
            await asyncio.to_thread(service.end)


class Organizations:
    """The ASGI application of a service: the project of the sign-in, and beside it all organizations that run.

    Args:
        options: With the folders of their projects.
    """

    def __init__(self, options: ServiceOptions, tell: Callable[[str], None]) -> None:
        self._look = options.projects
        self._options = options
        self._tell = tell
        self.running: dict[str, Application] = {}
        self.totals = Counter[str]()  # of the organizations whose work has ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        home = self.running[HOME]
        match = _PATH.match(scope.get("raw_path") or scope.get("path", "").encode()) if self._look else None
        if match is None:
            await home(scope, receive, send)
            return
        name = (match[1] or b"").decode()
        path = match[2] or b"/"
        if not name or path.startswith(b"/login"):  # such as the link of a new user, who has a password at home
            await RedirectResponse("/login" if name else "/", 303)(scope, receive, send)
        elif path.startswith(OF_SERVICE):
            await home(_at(scope, path), receive, send)
        elif name in self.running:
            more = {"path": path.decode("latin-1"), "raw_path": path, "outside": (home, scope)}
            await self.running[name]({**scope, **more}, receive, send)
        elif path.startswith(b"/hooks/"):
            await home(_at(scope, NO_HOOK if path.count(b"/") == 2 else path), receive, send)
        elif path.startswith(b"/confirm/"):
            await home(_at(scope, path), receive, send)
        else:
            await home(scope, receive, send)

    @property
    def services(self) -> Sequence[Service]:
        return [application.service for application in self.running.values()]

    @property
    def home(self) -> Service:
        return self.running[HOME].service

    def of(self, name: str) -> list[tuple[str, str]]:
        """Names and paths of the organizations in which a person has a role. May wait for their stores."""
        found: list[tuple[str, str]] = []
        for organization, application in sorted(self.running.items()):
            service = application.service
            with suppress(ShroffError):  # one that cannot be read hides no other
                user = service.gate.user(name)
                if user is not None and as_who(user).may(Right.READ_DECISIONS):
                    path = f"{service.options.base or BELOW}/"
                    found.append((organization or service.project.context.paths.folder.name, path))
        return found

    async def run(self) -> None:
        """Keep all of them at work until this is canceled, also those whose folders come later."""
        kept = dict[str, asyncio.Task[None]]()
        told = ""
        try:
            while True:
                try:
                    found = await asyncio.to_thread(self._look) if self._look else {}
                    words = ""
                except (UsageError, OSError) as error:
                    found = {}
                    words = str(error)
                if words and words != told:
                    self._tell(words)
                told = words
                for name in found.keys() - kept.keys():
                    kept[name] = asyncio.create_task(self._keep(name, found[name]))
                await asyncio.sleep(LOOKS_S)
        finally:
            for task in kept.values():
                task.cancel()
            await asyncio.gather(*kept.values(), return_exceptions=True)

    async def _keep(self, name: str, folder: Path) -> None:
        """Keep one at work: a failure is logged, and the project is opened again."""

        def tell(words: str) -> None:
            level = getattr(words, "level", WARNING)
            fields = getattr(words, "fields", {})
            self._tell(Told(f"{name}: {words}", level, {**fields, "organization": name}))

        while True:
            try:
                await self._work(name, folder, tell)
            except ShroffError as error:
                tell(str(error))
            except Exception as error:  # noqa: BLE001 - the outermost of an organization: the others go on
                tell(failure("the organization failed", error))
            await asyncio.sleep(AGAIN_S)

    def _count(self, service: Service) -> None:
        self.totals.update(service.work.totals, requests=service.requests.counts.total())

    async def _work(self, name: str, folder: Path, tell: Callable[[str], None]) -> None:
        base = f"{BELOW}/{name}"
        home = self.home
        public = home.project.context.systems.public_url
        where = (public or home.project.context.served_at) + base
        options = replace(self._options, base=base, public=public and where, organizations=self)
        ended = asyncio.Event()
        with ExitStack() as opened:

            def open_() -> tuple[Project, Desk, OrganizationGate]:
                project = app.open_exactly(folder)
                project.context.served_at = where
                checked(project.context)
                desk = opened.enter_context(project.people.open())
                ring = opened.enter_context(closing(KeyRing(desk)))
                return project, desk, OrganizationGate(desk, ring, name, home.gate)

            project, desk, gate = await asyncio.to_thread(open_)
            async with working(project, gate, desk, options, tell=tell, ended=ended.set) as application:
                self.running[name] = application
                opened.callback(self._count, application.service)
                tell(Told(f"served at {where}", INFO))
                try:
                    await ended.wait()
                finally:
                    application.service.is_ending = True
                    del self.running[name]
