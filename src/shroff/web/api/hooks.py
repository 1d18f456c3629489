"""The route of pushed sources, `/hooks/NAME`. Senders need no API key: each message is verified by its signature."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, NotRequired, TypedDict

import msgspec
from starlette.responses import Response

from shroff.errors import TransientError, UsageError
from shroff.log.writer import DUPLICATE, REFUSED
from shroff.people.access import network_of
from shroff.streams.push import CHALLENGE, MESSAGE, FetchNeededError, Push, PushRefusedError, PushSource
from shroff.web.api.events import check_rate_of, shown
from shroff.web.http.concurrency_limits import beside
from shroff.web.http.messages import PROBLEM, Json, Request
from shroff.web.http.problems import RETRY_AFTER, ProblemError
from shroff.web.http.routes import Route, RouteDoc

if TYPE_CHECKING:
    from shroff.events.intake import Submission
    from shroff.log.writer import Answer
    from shroff.project.settings.sources import NamedSource
    from shroff.services.sources.pushed import SourceCounts
    from shroff.web.service import Service

BODY_BYTES_MAX = 1024 * 1024  # messages of SNS have up to 256 KiB, and JSON escapes some characters
LONG_BYTES = 64 * 1024  # a body is long if it has more bytes, or does not announce its length
LONG_MAX = 32  # long bodies of unverified senders in memory at once
FETCHES_MAX = 4  # fetches of keys at once
SAVE_S = 1.0  # until counts are saved
SKIPPED = "skipped"
QUARANTINED = "quarantined"
APPENDED = "appended"


class ReceivedEvent(TypedDict):
    """The result of an event of a message; or of a subscription, `pending`, `confirmed` or `unsubscribed`."""

    state: Annotated[
        str,
        msgspec.Meta(
            extra_json_schema={
                "enum": [APPENDED, DUPLICATE, QUARANTINED, SKIPPED, "pending", "confirmed", "unsubscribed"]
            }
        ),
    ]
    event: NotRequired[str]
    id: NotRequired[str]
    seq: NotRequired[int | None]


class Received(ReceivedEvent):
    """The result of a message: of its event; of several items the first of `appended`, `duplicate`, `quarantined`."""

    items: NotRequired[list[ReceivedEvent]]


async def receive(service: Service, request: Request) -> Response:
    """Verify a message of a pushed source, make it durable, and respond."""
    name = request.path_params["source"]
    try:
        opened = service.pushed.of(name)
    except UsageError as error:
        service.tell(f"source {name} cannot be opened: {error}")
        detail = "its settings are incomplete; see the log of the service"
        raise ProblemError(503, "not-ready", "This source accepts no messages now", detail, RETRY_AFTER) from None
    if opened is None:
        raise ProblemError(404, "no-source", "There is no such source", "no pushed source has this name")
    named, source = opened
    with _long_body(service, request):
        push = await _verified(service, request, named, source)
    if isinstance(push, ProblemError):  # the wait is here, where the body is no longer in memory
        await asyncio.sleep(service.unknown.wait_s_of(network_of(request.address), 1))
        raise push
    service.pushed.counts(name).received_ms = service.project.context.now_ms()
    check_rate_of(service, f"hooks/{name}", 1)
    try:
        if push.kind != MESSAGE:
            return Json({"state": await _subscribed(service, named, source, push)})
        return await _taken(service, named, push)
    finally:
        _save_soon(service, name)


async def _verified(service: Service, request: Request, named: NamedSource, source: PushSource) -> Push | ProblemError:
    """Return the verified message, or the problem of a forged one, which the caller answers after a delay.

    Raises: ProblemError or TransientError if the sender is not to blame.
    """
    body = await request.body(BODY_BYTES_MAX)
    headers = dict(request.headers)
    now_ms = service.project.context.now_ms()
    try:
        try:
            return source.verified(headers, body, now_ms)
        except FetchNeededError as needed:
            await _fetched(service, request, named, source, needed.url)
            return source.verified(headers, body, now_ms)
    except FetchNeededError:
        raise TransientError("the keys to verify this request are unavailable now") from None
    except PushRefusedError as error:
        detail = error.mistakes[0][1]
        if error.status == CHALLENGE:
            headers = {"www-authenticate": f'Basic realm="{named.name}"'}
            raise ProblemError(401, "who-asks", "Send a user and password", detail, headers) from None
        counts = service.pushed.counts(named.name)
        counts.add(counts.refused, error.kind)
        _save_soon(service, named.name)
        is_bad = error.status == 400
        title = "This is not a message of this source" if is_bad else "The signature is not valid"
        return ProblemError(error.status, "not-a-message" if is_bad else "not-signed", title, detail)


@contextmanager
def _long_body(service: Service, request: Request) -> Iterator[None]:
    """Count a long body while its sender is not verified. Raises: ProblemError with 503 if there are too many."""
    length = request.headers.get("content-length", "")
    is_long = not length.isdecimal() or int(length) > LONG_BYTES
    if is_long and service.pushed.long_bodies >= LONG_MAX:
        detail = f"{LONG_MAX} long requests of pushed sources are read already"
        raise ProblemError(503, "not-ready", "Too many long requests", detail, RETRY_AFTER)
    service.pushed.long_bodies += is_long
    try:
        yield
    finally:
        service.pushed.long_bodies -= is_long


async def _fetched(service: Service, request: Request, named: NamedSource, source: PushSource, url: str) -> None:
    """Fetch the keys for a request, once for all that wait. Raises: TransientError if that is impossible now."""
    fetches = service.pushed.fetches
    key = (named.name, url)
    if key not in fetches:
        if len(fetches) >= FETCHES_MAX or service.fetches.wait_s_of(network_of(request.address), 1):
            raise TransientError("too many requests to verify at once; send it again")
        fetches[key] = beside(service.in_thread(source.fetch, url))
        fetches[key].add_done_callback(lambda done: (fetches.pop(key), done.cancelled() or done.exception()))
    await asyncio.shield(fetches[key])


async def _subscribed(service: Service, named: NamedSource, source: PushSource, push: Push) -> str:
    try:
        return await service.in_thread(service.pushed.subscribe, named, source, push)
    except OSError as error:
        service.tell(f"a subscription of source {named.name} cannot be kept: {error.strerror}")
        detail = "the subscription cannot be stored; see the log of the service"
        raise ProblemError(503, "not-ready", "This source accepts no messages now", detail, RETRY_AFTER) from None


async def _taken(service: Service, named: NamedSource, push: Push) -> Response:
    reader = service.writer.reader_now()
    messages = service.pushed.reader(reader.definitions)
    submissions = messages.read(named, push)
    counts = service.pushed.counts(named.name)
    taken = [
        submission
        for submission in submissions
        if not (submission.event is None and submission.refusal is None and submission.label is None)
    ]
    if len(taken) < len(submissions):
        counts.add(counts.skipped, messages.found_in(named, push), len(submissions) - len(taken))
    if not taken:
        return Json({"state": SKIPPED})
    answers = await service.writer.decided(taken, reader)
    items = [_counted(counts, submission, answer) for submission, answer in zip(taken, answers, strict=True)]
    if named.system.kind == "webhook" and all(answer.kind == REFUSED for answer in answers):
        status, body = shown(answers[0], taken[0].mistakes)
        return Response(body, status, media_type=PROBLEM)
    if len(submissions) == 1:
        return Json(items[0])
    states = {item["state"] for item in items}
    state = next(state for state in (APPENDED, DUPLICATE, QUARANTINED) if state in states)
    return Json({"state": state, "items": items})


def _counted(counts: SourceCounts, submission: Submission, answer: Answer) -> ReceivedEvent:
    if answer.kind == REFUSED:
        counts.quarantined += 1
        return {"state": QUARANTINED}
    if answer.kind == DUPLICATE:
        counts.duplicates += 1
    else:
        counts.appended += 1
        if submission.event is not None:
            counts.event_ms = max(counts.event_ms or 0, submission.event.time_ms)
    state = DUPLICATE if answer.kind == DUPLICATE else APPENDED
    return {"state": state, "event": answer.type, "id": answer.id, "seq": answer.seq or None}


def _save_soon(service: Service, name: str) -> None:
    """Save the counts within `SAVE_S`, at most once in that time. The end of the service saves the last ones."""
    service.pushed.counts(name)  # marks them as changed, since a save may have run while they were counted
    if not service.pushed.is_saving:
        service.pushed.is_saving = True
        loop = asyncio.get_running_loop()

        def save() -> None:
            with suppress(RuntimeError):  # the threads of the loop have ended
                loop.run_in_executor(None, service.pushed.save)

        loop.call_later(SAVE_S, save)


ROUTES = (
    Route(
        "POST",
        "/hooks/{source}",
        None,
        receive,
        RouteDoc(
            "Receive a signed message of a pushed source (`sns`, `pubsub`, `webhook`). It is durable before the "
            "response.",
            "The result. Amazon SNS gets 200 even if the content is quarantined.",
            {"type": "object"},
            {
                400: "The request is not a message of this source.",
                401: "The source has a password, and the request has none: send it again with basic authentication.",
                403: "Its signature, certificate or topic is refused; nothing is stored.",
                404: "No source has this name.",
                413: f"The body has more than {BODY_BYTES_MAX:,} bytes.",
                429: "Rate limit: this source sends too many messages; send it again later.",
                422: "A webhook with a valid signature: the event is refused, with the path of each error.",
                503: "The certificate cannot be fetched now, or no decisions are possible now; send it again.",
            },
            body_types=("text/plain",),
            answer=Received,
        ),
    ),
)
