"""What the first visit of a page would pay for, done before it: templates, libraries, figures, first reasons.

It begins once the service is ready, and each step waits until few events come. Then first reasons are made ahead, so
that Live has them all when it is opened.
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
EVERY_S = 2.0  # between looks for decisions without reasons
FEW_IN_A_LOOK = 100  # events: of more nobody reads each one, and a page fills in what it lacks
HEAVY_MAX = 200_000  # events of a log: of a longer one Labels may take seconds and a hundred megabytes at first
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
    yield partial(import_module, COLUMN_READER)  # a replay that reads many records uses it if it is there
    if service.is_ready and service.work.seq <= HEAVY_MAX:  # neither where it stands by: nobody looks there
        yield partial(service.project.run, ShowLabelStatistics())
        yield partial(service.project.run, ShowThresholds())
    for _ in range(LOOKED_BACK // BLOCK):
        if service.board.is_behind:
            yield service.board.read_on


def ask_ahead(service: Service, found: Callable[[Service], list[Named]]) -> None:
    """Have the first reasons of decisions told on their thread, where they are not known already."""
    service.reasons.of(found(service), 0.0)


def _look(service: Service) -> LiveLook:
    return look_now(service, PERIODS[FIRST])


def _newest(service: Service) -> list[Named]:
    return [(row.event, row.id) for row in _look(service).figures.newest]


def _of_the_queue(service: Service) -> list[Named]:
    desk = service.cases
    who = service.project.context.who
    wanted = queue_of({}, who, desk)
    cases = case_queries.listed(desk, who, wanted, ORDER, limit=SHOWN).cases
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
    """Run a step on a daemon thread, so that no end waits for it. The page shows an error."""
    done: Future[object] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(step())
        except Exception as error:  # noqa: BLE001 - who waits for it has it
            done.set_exception(error)

    Thread(target=run, name="warming", daemon=True).start()
    try:
        await asyncio.wrap_future(done)
    except ShroffError:  # there is no log yet, no champion, no disk
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this chore: the service goes on
        service.tell(failure("pages are not made ready", error))
