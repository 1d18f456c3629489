"""The first run in a browser: from an empty folder and a file to a project that has decided the events of the file."""

from __future__ import annotations

import logging
import re
import secrets
import signal
import socket
from asyncio import Lock
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import TYPE_CHECKING

import uvicorn
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.requests import Request as Upload
from starlette.responses import PlainTextResponse, Response

from shroff import config
from shroff.errors import DefinitionError, ShroffError, UsageError
from shroff.json_types import JsonObject, TextDict, TextMapping
from shroff.people import links
from shroff.runtime.logs import failure
from shroff.runtime.texts import DOT_SEGMENTS, one_line
from shroff.services import project as app
from shroff.services.check.operations import rows_of_file
from shroff.web.http.connections import limited
from shroff.web.http.messages import FORM_BYTES_MAX, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.proxies import Proxies
from shroff.web.http.static import file as static_file
from shroff.web.pages.renderer import alone, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from shroff.errors import Problem
    from shroff.services.proposals.proposing import ProposedProject
    from shroff.worker.ingest import IngestReport

FILE_BYTES_MAX = 2 * 1024**3
NAME_MAX = 100  # characters of a file's name
NAME_BYTES_MAX = 255  # of it, on usual file systems
LEFT_S = 20.0  # wait for the browser to show the last page
BLANK = "blank"
IGNORED = "ignored"
AMOUNT_ROLES = {"money", "cents", "units"}
MEANINGS = {  # of roles
    "id": "Id",
    "time": "Time",
    "money": "Amount",
    "cents": "Amount in cents",
    "units": "Amount, not in cents",
    "currency": "Currency",
    "label": "Fraud or not",
    "label_time": "Fraud known since",
    "entity": "Card, account or customer",
    "zone": "Time zone, like Europe/Rome",
    "first": "First in dates, day or month",
    "since": "First day, like 2026-03-01",
}
EXAMPLES = {"zone": "Europe/Berlin", "currency": "USD", "since": "2026-03-01"}  # of answers that are written
ANSWERS = {"cents": "In cents", "units": "As written", "first": "The {} first", "ignored": "Ignore {}"}


def first_run(folder: Path, listening: socket.socket, where: str, say: Callable[[str], None]) -> None:
    """Serve the pages of the first run until the project is there, and then leave the socket to its service.

    Args:
        folder: New or empty.
        where: The address of the service, without a path.

    Raises: KeyboardInterrupt by Ctrl-C and SIGTERM, so that the copy of the file is removed.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # as the service does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(prefix="shroff-first-") as scratch:
        run = FirstRun(folder.resolve(), Path(scratch), say)
        run.server = server_of(run)
        listening.listen()  # before the address is printed
        say(f"{one_line(run.folder)} has no project yet. Open this link to make one from a file:\n{where}{run.path}")
        with listening.dup() as socket_of_run:
            run.server.run(sockets=[socket_of_run])


def server_of(run: FirstRun) -> uvicorn.Server:
    options: JsonObject = {"log_config": None, "access_log": False, "server_header": False, "lifespan": "off"}
    options |= {"ws": "none", "proxy_headers": False, "timeout_graceful_shutdown": 1, "http": limited(Proxies)}
    return uvicorn.Server(uvicorn.Config(run, **options))


@dataclass(eq=False)
class FirstRun:
    """The way of one newcomer: a file, ten of its rows as events, corrections, and the first decisions.

    Its pages have an address that only the terminal shows. What is proposed lies in `scratch` until it is begun.
    """

    folder: Path
    scratch: Path
    say: Callable[[str], None]
    path: str = field(default_factory=lambda: f"/first/{secrets.token_urlsafe(16)}")
    server: uvicorn.Server | None = None
    file: Path | None = None
    files: TextDict = field(default_factory=dict)  # of the project, as the person changed them
    proposed: TextDict = field(default_factory=dict)  # the same as they were proposed
    proposal: ProposedProject | None = None
    roles: TextDict = field(default_factory=dict)  # columns by role, as the person chose them
    ignored: frozenset[str] = frozenset()
    before: str = ""  # the trial before the last choice
    mistake: str = ""
    work: Thread | None = None
    read: int = 0
    report: IngestReport | None = None
    link: str | None = None  # of the first admin, once the project is there
    is_seen: Event = field(default_factory=Event)
    turn: Lock = field(default_factory=Lock)  # of what changes the above

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request.form_bytes_max = FORM_BYTES_MAX
        try:
            request.check_head()
            response = await self._answer(request, Upload(scope, receive))
        except ProblemError as error:
            response = alone(
                "end.html",
                error.status,
                title=error.title,
                words=sentence(error.detail),
                way=request.path,
                way_says="Try again",
            )
        except Exception as error:
            self.say(failure("a page is not shown", error))
            raise
        await response(scope, receive, send)

    def take(self, *_: object) -> bool:
        """Take no posted event, as `Application.take` would."""
        return False

    async def _answer(self, request: Request, upload: Upload) -> Response:
        parts = request.path.split("/")
        if parts[1] == "static" and len(parts) == 4:
            request.scope["path_params"] = {"version": parts[2], "name": parts[3]}
            return await static_file(None, request)  # type: ignore[arg-type]  # a file is the same in each service
        if not secrets.compare_digest(request.path.encode(), self.path.encode()):
            raise ProblemError(404, "not-found", "Page not found", "open the link that the terminal shows")
        if request.method == "PUT":
            if self.turn.locked() or self.work is not None:
                return PlainTextResponse("Another file is being read. Reload this page.", 409)
            async with self.turn:
                return await self._take(request.query_params.get("name", ""), upload)
        if request.method == "POST":
            form = await request.form()
            async with self.turn:
                await self._go_on(form)
            return see_other(self.path)
        return await run_in_threadpool(self._page)

    async def _take(self, name: str, upload: Upload) -> Response:
        """Keep the file that is sent, and propose a project for it; the answer is a text for the page's script."""
        self._forget()
        name = Path(name).name[-NAME_MAX:] or "events.csv"
        if name in DOT_SEGMENTS or not name.isprintable() or len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
            return PlainTextResponse("No file can have this name. Rename it, and try again.", 422)
        path = self.scratch / name
        size = 0
        try:
            with path.open("wb") as out:
                async for part in upload.stream():
                    size += len(part)
                    if size > FILE_BYTES_MAX:
                        path.unlink()
                        return PlainTextResponse(
                            f"A file has at most {FILE_BYTES_MAX:,} bytes here. Use 'shroff init' and 'shroff ingest'.",
                            413,
                        )
                    out.write(part)
            await run_in_threadpool(self._propose, path, {}, frozenset())
        except (ShroffError, OSError, ValueError, ClientDisconnect) as error:
            with suppress(OSError):
                path.unlink()
            return PlainTextResponse(self._said(error), 422)
        return PlainTextResponse("")

    def _propose(self, path: Path, roles: TextDict, ignored: frozenset[str]) -> None:
        with TemporaryDirectory(dir=self.scratch) as folder:
            made = Path(folder) / "project"
            _, _, proposal = app.propose_project(made, path, self.folder.name, roles=roles, ignored=sorted(ignored))
        self.roles = roles
        self.ignored = ignored
        self.proposal = proposal
        self.proposed = {name: text.decode() for name, text in proposal.files.items()}
        self.files = self.proposed.copy()
        self.file = path  # last, since a page that is answered meanwhile reads the rest if there is one

    async def _choose(self, file: Path, form: TextMapping) -> None:
        role, _, column = form["choose"].partition("=")
        column = column or form.get("column", "")
        replaced = AMOUNT_ROLES if role in AMOUNT_ROLES else {role}
        roles = {name: other for name, other in self.roles.items() if other != column and name not in replaced}
        ignored = self.ignored - {column}
        if role == IGNORED:
            ignored |= {column}
        elif role in MEANINGS:
            roles[role] = column
        assert self.proposal is not None
        before = self.proposal.summary
        try:
            await run_in_threadpool(self._propose, file, roles, ignored)
            self.before = before
        except (ShroffError, OSError, ValueError) as error:
            self.mistake = f"{column}: {self._said(error).rpartition(f'={column}: ')[2]}"

    def _said(self, error: Exception) -> str:
        return sentence(str(error).replace(f"{self.scratch}/", ""))

    def _forget(self) -> None:
        if self.file is not None:
            self.file.unlink(missing_ok=True)
        self.file = None
        self.files = {}
        self.proposal = None
        self.mistake = ""
        self.before = ""

    async def _go_on(self, form: TextMapping) -> None:
        if self.work is not None:
            return
        self.mistake = ""
        self.before = ""
        do = form.get("do", "")
        if do == "again":
            self._forget()
        if self.file is not None and "choose" in form:
            if self.files == self.proposed or form["choose"] == "=":
                await self._choose(self.file, form)
            else:  # a click on a page that is older than the changed files
                self.mistake = "The files were changed by hand: go back to the proposal first."
        for name in self.files.keys() & form.keys():
            self.files[name] = form[name].replace("\r\n", "\n")
        if form.get("template") in config.TEMPLATES or (
            self.file is not None and do == "begin" and (await run_in_threadpool(self._look, self.file))["may_begin"]
        ):
            self.work = Thread(target=self._work, args=(form.get("template", ""),), daemon=True, name="first run")
            self.work.start()

    def _work(self, template: str) -> None:
        try:
            if template:
                project, _ = app.make_project(self.folder, template)
            else:
                project = app.write_project(self.folder, {name: text.encode() for name, text in self.files.items()})[0]
            with project.people.open() as desk:
                self.link = links.first(desk, project.context.who)
            if not template:
                assert self.file is not None
                labels = self.file if project.definitions.events.label.mappings else None
                self.report = project.taking.ingest(self.file, labels=labels, progress=self._progress)
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told, by the page
            self.mistake = sentence(str(error) if isinstance(error, ShroffError) else failure("this failed", error))
            if self.link is None:
                self.work = None
                return
        self.is_seen.wait(LEFT_S)
        assert self.server is not None
        self.server.should_exit = True

    def _progress(self, read: int) -> None:
        self.read += read

    def _page(self) -> Response:
        shown: JsonObject = {"run": self, "templates": [name for name in config.TEMPLATES if name != BLANK]}
        if self.report is not None or (self.link is not None and (self.mistake or not self.files)):
            response = alone("first_run.html", stage="end", **shown)
            response.background = BackgroundTask(self.is_seen.set)
            return response
        if self.work is not None:
            return alone("first_run.html", stage="work", **shown)
        if self.file is None:
            return alone("first_run.html", stage="file", **shown)
        assert self.proposal is not None
        remarks = tuple(column["reason"] for column in self.proposal.columns if column["reason"])
        seen = (*remarks, "names none", "such as Europe/Berlin")
        guesses = [guess for guess in self.proposal.guesses if not guess.endswith(seen) and "'shroff" not in guess]
        shown |= {"meanings": MEANINGS, "remarks_on": _remarks_on, "examples": EXAMPLES, "other_guesses": guesses}
        shown["questions"] = [
            (_question(asked), _answers(asked), asked["choices"][0].rpartition("=")[0])
            for asked in self.proposal.questions
        ]
        return alone("first_run.html", stage="look", **shown, **self._look(self.file))

    def _look(self, file: Path) -> JsonObject:
        errors: Sequence[Problem] = ()
        rows = None
        with TemporaryDirectory(dir=self.scratch) as folder:
            files = {name: text.encode() for name, text in self.files.items()}
            try:
                project, _ = app.write_project(Path(folder) / "project", files)
                errors = project.check().errors
                if not errors:
                    labels = file if project.definitions.events.label.mappings else None
                    rows = rows_of_file(project, project.definitions, file, labels=labels, shown=0)
            except DefinitionError as error:
                errors = error.problems
            except UsageError as error:
                self.mistake = self._said(error)
        may_begin = rows is not None and not rows["stops"] and rows["read"] > rows["refused"]
        return {"errors": errors, "rows": rows, "may_begin": may_begin}


def _remarks_on(column: JsonObject) -> str:
    type_words = (column["type"] or "").partition("(")[0].replace("?", "")
    return "; ".join(filter(None, [type_words, _without_option(column["reason"] or "")]))


def _without_option(text: str) -> str:
    return re.split("it could also be|--role|--ignore", text)[0].rstrip("; ")


def _question(asked: JsonObject) -> str:
    words = _without_option(asked["why"])
    is_of_columns = len(asked["choices"]) > 1 and not any("=" in choice for choice in asked["choices"])
    return f"{MEANINGS[asked['role']]}: {words}" if is_of_columns else words


def _answers(question: JsonObject) -> list[tuple[str, str]]:
    """Return value and words of a button for each answer but the proposed one."""
    _, *others = [choice if "=" in choice else f"{question['role']}={choice}" for choice in question["choices"]]
    parts = [choice.partition("=") for choice in others]
    return [(f"{role}={value}", ANSWERS.get(role, "{}").format(value)) for role, _, value in parts]
