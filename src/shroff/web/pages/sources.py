"""The page Sources: counts and errors of each source, reasons of its quarantined messages, and subscriptions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET
from starlette.responses import Response

from shroff.errors import ShroffError, UsageError
from shroff.people.access import Right
from shroff.runtime.logs import scrubbed
from shroff.services.sources.operations import ConfirmSubscriptions, ListSources
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.streams.log import Refused
    from shroff.web.service import Service

ENTRIES_LOOKED = 200  # newest entries of the quarantine that are read
REASONS_SHOWN = 5  # most frequent reasons of a source
QUOTED = re.compile(  # values in reasons, as `events.raw_values.shown` writes them
    r"""(?<!\w)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
    r"|(?:(?<=the number )|(?<=the time )|(?<=the duration ))\S+?(?=[,;.]?(?:\s|$))"
    r"|(?<=too late: )\S+(?= is )|(?<= is )\S+(?= behind the newest event)"
)


async def confirm(service: Service, request: Request) -> Response:
    form = await request.form()
    name = form["source"]
    topic = form["topic"]
    if name not in service.project.context.systems.sources:
        raise ProblemError(404, "no-source", "There is no such source", "shroff.yaml has no source of this name")
    try:
        await service.run(request, ConfirmSubscriptions(source=name, topic=topic))
    except ShroffError as error:
        return await show(service, request, mistake=sentence(str(error)))
    return see_other("/sources")


async def show(service: Service, request: Request, mistake: str = "") -> Response:
    await service.in_thread(service.pushed.save)
    sources = (await service.run(request, ListSources())).sources
    pushed = [source for source in sources if source.path]
    unopened = {source.name: _why_unopened(service, source.name) for source in pushed}
    entries = (
        await service.in_thread(service.project.quarantine.newest, ENTRIES_LOOKED)
        if request.who.may(Right.MEND_INPUT)
        else []
    )
    return await page(
        service,
        request,
        "sources.html",
        pushed=pushed,
        pulled=[source for source in sources if source.set_aside is not UNSET],
        read=[source for source in sources if source.state],
        reasons=_reasons(entries, has_values=request.who.may(Right.READ_PERSONAL)),
        unopened={name: reason for name, reason in unopened.items() if reason},
        failing=sum(bool(source.failing) for source in sources),
        waiting=sum(topic["state"] == "pending" for source in pushed for topic in source.subscriptions or ()),
        mistake=mistake,
    )


def _reasons(
    entries: Iterable[tuple[int, Refused, str | None]], *, has_values: bool
) -> dict[str, list[tuple[str, int]]]:
    by_source: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for _, entry, fixed_by in entries:
        way, _, rest = entry.source.partition("/")
        if way in {"hooks", "pulled", "read"} and not fixed_by:
            reason = scrubbed(entry.reason)
            by_source[rest.partition("/")[0]][QUOTED.sub("…", reason)].append(reason)
    return {name: _counted(alike, has_values=has_values) for name, alike in by_source.items()}


def _counted(alike: Mapping[str, Sequence[str]], *, has_values: bool) -> list[tuple[str, int]]:
    """Count reasons that differ only in values; show the values if all are equal and the user may see them."""
    counts = [(texts[0] if has_values and len(set(texts)) == 1 else bare, len(texts)) for bare, texts in alike.items()]
    rows = sorted(counts, key=lambda row: -row[1])
    others = sum(count for _, count in rows[REASONS_SHOWN:])
    return [*rows[:REASONS_SHOWN], *([("other reasons", others)] if others else [])]


def _why_unopened(service: Service, name: str) -> str:
    try:
        service.pushed.of(name)
    except UsageError as error:
        return str(error)
    return ""


ROUTES = (
    Route("GET", "/sources", Right.READ_METRICS, show, screen=Screen("Sources", "System", 2)),
    Route("POST", "/sources/confirm", Right.MEND_INPUT, confirm),
)
