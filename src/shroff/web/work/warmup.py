"""Prepare pages before their first visit: load templates and libraries, compute figures and first reasons.

This begins once the service is ready, and each step waits until few events arrive. After that, first reasons of new
decisions are computed in advance for the page Live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

from shroff.cases import case_queries
from shroff.cases.filters import queue_of
from shroff.errors import ShroffError
from shroff.log.state.fold import COLUMN_READER
from shroff.monitoring.live_metrics import BLOCK, LOOKED_BACK
from shroff.runtime.logs import failure
from shroff.services.labels.operations import ShowLabelStatistics
from shroff.services.thresholds.operations import ShowThresholds
from shroff.web.api.live import FIRST, PERIODS, LiveLook, look_now
from shroff.web.http.static import static_files
from shroff.web.pages.cases.casework import newest_alerts, top_of
from shroff.web.pages.cases.queue import ORDER, SHOWN
from shroff.web.pages.renderer import environment
from shroff.web.work.reasons import Named

if TYPE_CHECKING:
    from shroff.web.service import Service

BEGIN_S = 0.2  # after the service is ready
PAUSE_S = 0.02  # before each step
FEW = 2  # events that may arrive meanwhile
EVERY_S = 2.0  # between checks for decisions without reasons
FEW_IN_A_LOOK = 100  # events between checks; if more arrive, nobody reads each one
HEAVY_MAX = 200_000  # events of a log; for a longer one, Labels may take seconds and a hundred megabytes
FIRST_TEMPLATES = "login.html queue.html live.html peek.html case.html decision.html".split()
Step = Callable[[], object]


async def keep_warm(service: Service) -> None:
    await asyncio.sleep(BEGIN_S)
    for step in steps(service):
        if service.is_ending:
            return
        while await _came(service, PAUSE_S) > FEW:
            pass
        await _done(service, step)
    while not service.is_ending:
        if await _came(service, EVERY_S) <= FEW_IN_A_LOOK:
            await _done(service, partial(ask_ahead, service, _newest))


def steps(service: Service) -> Iterator[Step]:
    templates = environment().list_templates(["html"])
    yield static_files
    yield from (partial(environment().get_template, name) for name in FIRST_TEMPLATES)
    yield partial(_look, service)
    yield partial(ask_ahead, service, _of_the_queue)
    yield partial(ask_ahead, service, _newest)
    yield from (partial(environment().get_template, name) for name in templates if name not in FIRST_TEMPLATES)
    yield service.health.look
    yield partial(import_module, COLUMN_READER)  # a replay of many records uses it only if it is imported
    if service.is_ready and service.work.seq <= HEAVY_MAX:  # not on standby, whose pages nobody opens
        yield partial(service.project.run, ShowLabelStatistics())
        yield partial(service.project.run, ShowThresholds())
    for _ in range(LOOKED_BACK // BLOCK):
        if service.board.is_behind:
            yield service.board.read_on


def ask_ahead(service: Service, events: Callable[[Service], list[Named]]) -> None:
    """Start to compute the first reasons of these events that are not cached."""
    service.reasons.of(events(service), 0.0)


def _look(service: Service) -> LiveLook:
    return look_now(service, PERIODS[FIRST])


def _newest(service: Service) -> list[Named]:
    return [(row.event, row.id) for row in _look(service).figures.newest]


def _of_the_queue(service: Service) -> list[Named]:
    desk = service.cases
    who = service.project.context.who
    query = queue_of({}, who, desk)
    cases = case_queries.listed(desk, who, query, ORDER, limit=SHOWN).cases
    tops = [top_of(alerts) for alerts in newest_alerts(desk, cases).values()]
    names = [(top.event, top.id) for top in tops if top is not None and top.outcome]
    for name in names[:1]:
        service.reasons.explained(*name)
    return names


async def _came(service: Service, within_s: float) -> int:
    before = service.work.counts.events.appended
    await asyncio.sleep(within_s)
    return service.work.counts.events.appended - before


async def _done(service: Service, step: Step) -> None:
    """Run a step on a daemon thread, for which the end of the process does not wait. Report unexpected errors."""
    done: Future[object] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(step())
        except Exception as error:  # noqa: BLE001 - raised below
            done.set_exception(error)

    Thread(target=run, name="warming", daemon=True).start()
    try:
        await asyncio.wrap_future(done)
    except ShroffError:  # such as a missing log or champion; the page will show it
        return
    except Exception as error:  # noqa: BLE001 - the service continues without this step
        service.tell(failure("pages are not made ready", error))
