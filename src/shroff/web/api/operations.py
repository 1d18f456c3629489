"""Derive routes and their OpenAPI description from declared operations, and run operations on threads."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from inspect import getdoc
from typing import TYPE_CHECKING, Any

import msgspec

from shroff.errors import DefinitionError, RefusalError, ShroffError, UsageError
from shroff.json_types import JsonObject
from shroff.operations import manifest
from shroff.operations.declaration import (
    OPERATIONS,
    InvalidRequestError,
    Operation,
    OperationRequest,
    Outcome,
    RequestField,
    operation_of,
)
from shroff.operations.pagination import BadQueryError
from shroff.people.access import Right
from shroff.web.http.concurrency_limits import ConcurrencyLimits
from shroff.web.http.messages import BODY_BYTES_MAX, Json, Request, decoded, precondition, tagged
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, api
from shroff.worker.request_loop import PATIENCE_S

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.services.project import Project
    from shroff.web.service import Service

ACCEPTED = 202
THREADS = 8  # a pool of its own, since an operation may wait for the writer, whose reply other threads read
OF_SENDER_MAX = 4
_OPTION = re.compile(r"--[a-z-]+")


def route_of(declared: Operation[..., Any]) -> Route:
    async def handle(service: Service, request: Request) -> Json[Any]:
        operation_request = await read(service, declared, request)
        try:
            answer = await service.run(request, operation_request)
        except (UsageError, DefinitionError) as error:
            if not declared.unanswered or isinstance(error, RefusalError):
                raise
            raise ProblemError(422, "bad-question", declared.unanswered, str(error)) from None
        status = 409 if declared.conflict and answer.exit_status() else declared.status
        headers = {"location": answer.url} if status == ACCEPTED else tagged(answer.etag())
        return await service.in_thread(Json, answer, status, headers)  # writing a list of a million entries takes long

    query = {field.wire: field.about.help for field in declared.fields_in("query")}
    problems = {refusal.status: getdoc(refusal) or "" for refusal in declared.refusals}
    headers = dict[str, str]()
    for field in declared.fields_in("header"):
        problems |= {412: "It has been changed since.", 428: "If-Match is missing."}
        headers["If-Match"] = field.about.help
        if field.about.may_be_new:
            headers["If-None-Match"] = "*: it is new."
    return api(declared.method, declared.path, Right(declared.right), handle)(
        declared.summary,
        " ".join((getdoc(declared.answer) or "").partition("\n\n")[0].split()),
        declared.body,
        problems,
        query,
        answer=declared.answer,
        status=declared.status,
        others={409: (declared.conflict, declared.answer)} if declared.conflict else {},
        headers=headers,
        required=[field.wire for field in declared.fields_in("query") if field.is_required],
    )


async def read(service: Service, declared: Operation[..., Any], request: Request) -> OperationRequest[Any]:
    """Build an operation's request from path, headers, query and body. Raises: InvalidRequestError; ProblemError."""
    values: JsonObject = {
        request_field.name: _in_path(declared, request, request_field) for request_field in declared.fields_in("path")
    }
    for field in declared.fields_in("header"):
        values[field.name] = precondition(request, field.about)
    if declared.query is not None:
        names = {request_field.wire for request_field in declared.fields_in("query")}
        query = {name: text for name, text in request.query_params.items() if name in names}
        try:
            values |= msgspec.structs.asdict(msgspec.convert(query, declared.query, strict=False))
        except msgspec.ValidationError as error:
            raise BadQueryError(str(error)) from None
    if declared.body is not None:
        raw = await request.body(declared.body_bytes_max or BODY_BYTES_MAX)
        values |= msgspec.structs.asdict(await service.in_thread(decoded, raw, declared.body))
    return declared.read(values)


def _in_path(declared: Operation[..., Any], request: Request, field: RequestField) -> Any:
    """Parse a field of the path. Raises: the operation's refusal with status 404 for an invalid value."""
    text = request.path_params[field.wire]
    try:
        return msgspec.convert(text, field.type, strict=False)
    except msgspec.ValidationError:
        missing = next((refusal for refusal in declared.refusals if refusal.status == 404), InvalidRequestError)
        raise missing(f"there is no {declared.name.split()[0].removesuffix('s')} {text[:40]!r}.") from None


def _over_http(declared: Operation[..., Any], message: str) -> str:
    """Replace the command's options in an error message by the names of the API's fields."""
    wire = {field.about.flags or f"--{field.name.replace('_', '-')}": field.wire for field in declared.fields}
    return _OPTION.sub(lambda match: wire.get(match[0], match[0]), message)


def routes() -> list[Route]:
    manifest.load_all()
    declared = [operation for operation in OPERATIONS.values() if operation.http]
    return [
        route_of(operation) for operation in sorted(declared, key=lambda operation: (operation.path, operation.method))
    ]


# ---- threads


class OperationThreads:
    """The threads that run operations for callers of a service. For its event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="act")
        self._shares = ConcurrencyLimits(self._threads, OF_SENDER_MAX)
        self._turns = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def run(self, who: Who, request: OperationRequest[Outcome], asked_at: str = "") -> Outcome:
        """Run an operation as `who`. Raises: what the operation raises.

        Args:
            asked_at: Address at which the caller reaches the service, for links.
        """
        loop = asyncio.get_running_loop()
        declared = operation_of(request)

        def run() -> Outcome:
            try:
                return self.acting(who, loop, asked_at).run(request)
            except UsageError as error:
                error.args = (_over_http(declared, str(error)),)
                raise
            finally:
                # The operation may have changed files. Read them here rather than later in the event loop.
                with suppress(ShroffError):
                    _ = self._service.project.context.loaded

        if declared.is_check:  # may wait up to PATIENCE_S for the writer to activate files
            return await self._service.checks.run(who.id, run, wait_s=PATIENCE_S)
        async with self._turns[declared.name] if declared.is_shared else nullcontext():
            return await self._shares.run(run)

    def acting(self, who: Who, loop: asyncio.AbstractEventLoop | None = None, asked_at: str = "") -> Project:
        """Return the project with `who` as the author of acts. With `loop`, this service's writer activates files."""

        def adopt(files: list[str] | None) -> str:
            assert loop is not None
            return asyncio.run_coroutine_threadsafe(self._service.writer.adopted(files), loop).result()

        service = self._service
        wait = adopt if loop is not None else None
        return service.project.acting_as(who, service.desk, wait, service.cases, asked_at)

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
