"""Several projects in one service, with one sign-in: each organization has its own path, log, writer, limits and keys.

The home project, at `/`, has the users' passwords and sessions. The other organizations are below `/o/NAME`.
"""

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
from typing import TYPE_CHECKING, Any

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

HOME = ""  # key of the home project, which handles the sign-in
BELOW = "/o"  # path prefix of organizations
AGAIN_S = 5.0  # wait before a failed project is opened again
LOOKS_S = 5.0  # between scans for new folders
AT_HOME = ("/login/", "/me/")  # path prefixes that only the home project serves
OF_SERVICE = b"/health/", b"/static/"  # answered below every name, so that nobody learns which organizations exist
NO_HOOK = b"/hooks/-"  # path of a webhook that cannot exist
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_PATH = re.compile(rb"/o(?:/([a-z0-9_-]*)(/[^?]*)?)?(?=\?|$)")


def projects_in(folder: Path, home: Path) -> dict[str, Path]:
    """Return the project folders in `folder` by organization, without `home`. A folder's name names its organization.

    Raises: UsageError if there is no project, or if a folder's name is not allowed.
    """
    folders = {path.parent.name: path.parent.resolve() for path in sorted(folder.glob(f"*/{PROJECT_FILE}"))}
    folders = {name: path for name, path in folders.items() if path != home}
    if not folders:
        raise UsageError(f"{folder} holds no project. Make one: shroff init {folder}/NAME --template payments")
    for name in folders:
        if not _NAME.fullmatch(name):
            rule = "a name has small letters, digits, '_' and '-', 40 at most; rename the folder"
            raise UsageError(f"{folders[name]} is no organization: {rule}.")
    return folders


def _with_path(scope: Scope, path: bytes) -> Scope:
    return {**scope, "path": path.decode("latin-1"), "raw_path": path}


class OrganizationGate(Gate):
    """The gate of an organization: it has its own API keys and users, but takes sessions from the home project.

    Args:
        name: Name of the organization. Each organization has its own CSRF tokens.
        home: Gate of the home project, which has the sessions.
    """

    def __init__(self, desk: Desk, ring: KeyRing, name: str, home: Gate) -> None:
        super().__init__(desk, ring)
        self._name = name
        self._home = home

    def user(self, name: str) -> User | None:
        """Return the user of this name if the home project has one too. May wait for both stores."""
        return super().user(name) if self._home.user(name) is not None else None

    def signed_in(self, token: str, *, is_use: bool = True, device: str = "") -> SignedIn | None:
        """Return the organization's user of a session of the home project.

        Returns None if the session is not valid, the person is no user here, or lacks a required second factor.
        """
        session = self._home.signed_in(token, is_use=is_use, device=device)
        user = None if session is None else super().user(session.user.name)
        needs_factor = user is not None and user.role in self._desk.settings.second_factor
        if session is None or user is None or (needs_factor and not session.user.has_second_factor):
            return None
        user = replace(user, zone=session.user.zone, theme=session.user.theme)
        csrf_token = hashlib.sha256(f"{self._name} {token}".encode()).hexdigest()
        return SignedIn(as_who(user), user, csrf_token, session.ends_at_ms)


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
    """Run the service of one project, with its job worker, while the context is open; yield its ASGI application.

    `ended` is called when the thread that leads the log has ended.

    Raises: on exit, the error that ended the thread.
    """
    with ThreadPoolExecutor(THREADS, thread_name_prefix="read") as threads, closing(DraftCheckers(project)) as checkers:
        hidden = AT_HOME if options.base else ()
        routes = [route for route in table(project.definitions) if not f"{route.path}/".startswith(hidden)]
        service = Service(project, gate, desk, threads, replace(options, check=checkers.run), routes=routes, tell=tell)
        service.begin(ended)
        command = command_of(str(project.context.paths.folder))
        worker = JobWorker(service.jobs, command, tell, lambda name: gate.user(name) is not None)
        tasks: list[asyncio.Task[None]] = []
        try:
            await service.has_begun()
            worker.begin()
            tasks += [asyncio.create_task(keep_warm(service))]
            tasks += [asyncio.create_task(keep_applied(service))] if options.watches else []
            with service_port(service):
                yield Application(service, routes, tell)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.to_thread(worker.end)
            await asyncio.to_thread(service.end)


class Organizations:
    """The ASGI application of a service: it passes each request to the home project or to an organization.

    Args:
        options: `projects` finds the folders of organizations.
    """

    def __init__(self, options: ServiceOptions, tell: Callable[[str], None]) -> None:
        self._look = options.projects
        self._options = options
        self._tell = tell
        self.running: dict[str, Application] = {}
        self.totals = Counter[str]()  # counts of organizations that have stopped

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        home = self.running[HOME]
        match = _PATH.match(scope.get("raw_path") or scope.get("path", "").encode()) if self._look else None
        if match is None:
            await home(scope, receive, send)
            return
        name = (match[1] or b"").decode()
        path = match[2] or b"/"
        # Passwords are those of the home project, also for a new user's link
        if not name or path.startswith(b"/login"):
            await RedirectResponse("/login" if name else "/", 303)(scope, receive, send)
        elif path.startswith(OF_SERVICE):
            await home(_with_path(scope, path), receive, send)
        elif name in self.running:
            more = {"path": path.decode("latin-1"), "raw_path": path, "outside": (home, scope)}
            await self.running[name]({**scope, **more}, receive, send)
        elif path.startswith(b"/hooks/"):
            await home(_with_path(scope, NO_HOOK if path.count(b"/") == 2 else path), receive, send)
        elif path.startswith(b"/confirm/"):
            await home(_with_path(scope, path), receive, send)
        else:
            await home(scope, receive, send)

    def take(self, *posted: Any) -> bool:
        """Take an event of the home project, as `Application.take`."""
        return self.running[HOME].take(*posted)

    @property
    def services(self) -> Sequence[Service]:
        return [application.service for application in self.running.values()]

    @property
    def home(self) -> Service:
        return self.running[HOME].service

    def of(self, name: str) -> list[tuple[str, str]]:
        """Return name and path of each project whose decisions this person may read. May wait for their stores.

        A project whose store cannot be read is left out.
        """
        readable: list[tuple[str, str]] = []
        for organization, application in sorted(self.running.items()):
            service = application.service
            with suppress(ShroffError):
                user = service.gate.user(name)
                if user is not None and as_who(user).may(Right.READ_DECISIONS):
                    path = f"{service.options.base or BELOW}/"
                    readable.append((organization or service.project.context.paths.folder.name, path))
        return readable

    async def run(self) -> None:
        """Run every organization until canceled, and look for new folders every `LOOKS_S` seconds."""
        task_by_name = dict[str, asyncio.Task[None]]()
        last_warning = ""
        try:
            while True:
                try:
                    folders = await asyncio.to_thread(self._look) if self._look else {}
                    warning = ""
                except (UsageError, OSError) as error:
                    folders = {}
                    warning = str(error)
                if warning and warning != last_warning:
                    self._tell(warning)
                last_warning = warning
                for name in folders.keys() - task_by_name.keys():
                    task_by_name[name] = asyncio.create_task(self._keep_running(name, folders[name]))
                await asyncio.sleep(LOOKS_S)
        finally:
            for task in task_by_name.values():
                task.cancel()
            await asyncio.gather(*task_by_name.values(), return_exceptions=True)

    async def _keep_running(self, name: str, folder: Path) -> None:
        def tell(message: str) -> None:
            level = getattr(message, "level", WARNING)
            fields = getattr(message, "fields", {})
            self._tell(Told(f"{name}: {message}", level, {**fields, "organization": name}))

        while True:
            try:
                await self._work(name, folder, tell)
            except ShroffError as error:
                tell(str(error))
            except Exception as error:  # noqa: BLE001 - one organization must not stop the others
                tell(failure("the organization failed", error))
            await asyncio.sleep(AGAIN_S)

    def _count(self, service: Service) -> None:
        self.totals.update(service.work.totals, requests=service.requests.counts.total())

    async def _work(self, name: str, folder: Path, tell: Callable[[str], None]) -> None:
        base = f"{BELOW}/{name}"
        home = self.home
        public = home.project.context.systems.public_url
        address = (public or home.project.context.served_at) + base
        options = replace(self._options, base=base, public=public and address, organizations=self)
        ended = asyncio.Event()
        with ExitStack() as resources:

            def open_() -> tuple[Project, Desk, OrganizationGate]:
                project = app.open_exactly(folder)
                project.context.served_at = address
                checked(project.context)
                desk = resources.enter_context(project.people.open())
                ring = resources.enter_context(closing(KeyRing(desk)))
                return project, desk, OrganizationGate(desk, ring, name, home.gate)

            project, desk, gate = await asyncio.to_thread(open_)
            async with working(project, gate, desk, options, tell=tell, ended=ended.set) as application:
                self.running[name] = application
                resources.callback(self._count, application.service)
                tell(Told(f"served at {address}", INFO))
                try:
                    await ended.wait()
                finally:
                    application.service.is_ending = True
                    del self.running[name]
