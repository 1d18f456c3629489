"""Reasons of decisions for pages: told once, and kept, since what was decided does not change.

Apart from its users, which are pages, since it lives as long as the service and several threads ask it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from shroff.errors import ShroffError
from shroff.runtime.values import Fresh, FrozenStruct
from shroff.web.pages.words import reason_texts

if TYPE_CHECKING:
    from shroff.explain.explanation import Explained
    from shroff.services.project import Project

KEPT = 5_000  # entries; a few hundred bytes each
EXPLAINED_KEPT = 64  # entries; about 10 kB each
EXPLAINED_FRESH_S = 60.0  # a model may come back, and the index reaches further
WITHIN_S = 0.1  # wait of a page for reasons that are not computed yet
WAITING_MAX = 200
AFTER_FAILURE_S = 60.0  # between tries after a failure: a model's file may be gone for days

Named = tuple[str, str]  # the type and id of an event


class FirstReason(FrozenStruct):
    """Why something was decided as it was, in a line: what is true, and what is normal for whom, empty for a rule."""

    text: str
    normal: str
    code: str


class FirstReasons:
    """The first reasons of a project's decisions.

    Those that a page has no time to wait for are computed meanwhile, on one thread, for its next visit.
    """

    def __init__(self, project: Project, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._project = project
        self._kept: OrderedDict[Named, FirstReason | None] = OrderedDict()
        self._asked: dict[Named, Future[FirstReason | None]] = {}
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reasons")
        self._explained: Fresh[Explained] = Fresh(EXPLAINED_KEPT, clock_s)
        self._failed: Fresh[bool] = Fresh(KEPT, clock_s)

    def explained(self, event: str, id_: str) -> Explained:
        """The explanation of a decision, a minute old at most: queue, case and decision page ask for the same one.

        Raises: as `Project.explain`.
        """
        found = self._explained.peek((event, id_), EXPLAINED_FRESH_S)
        return found or self._explained.get(
            (event, id_), lambda: self._project.explain(f"{event}/{id_}"), EXPLAINED_FRESH_S
        )

    def of(self, events: Iterable[Named], within_s: float | None = WITHIN_S) -> dict[Named, FirstReason | None]:
        """The reasons of these events, in their order, as far as they are known or computed in time.

        None for an event of which nothing can be said; what there was no time for is left out. Without a time they are
        told at once, before what others asked for. Cost: 50 ms each.
        """
        names = list(dict.fromkeys(events))
        with self._lock:
            unknown = [named for named in names if named not in self._kept]
        failed = [named for named in unknown if self._failed.peek(named, AFTER_FAILURE_S)]
        unknown = [named for named in unknown if named not in failed]
        if within_s is None:
            found = {named: self._told(named) for named in unknown}
        else:
            asked = self._ask(unknown)
            wait(asked.values(), within_s)
            found = {
                named: future.result() for named, future in asked.items() if future.done() and not future.cancelled()
            }
        found.update(dict.fromkeys(failed))
        with self._lock:
            for named in names:
                if named in self._kept:
                    self._kept.move_to_end(named)
                    found[named] = self._kept[named]
        return {named: found[named] for named in names if named in found}

    def end(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, names: Iterable[Named]) -> dict[Named, Future[FirstReason | None]]:
        """Queue the computation of reasons on the thread; leave out events beyond `WAITING_MAX`."""
        with self._lock:
            for named in names:
                if named not in self._asked and len(self._asked) < WAITING_MAX:
                    with suppress(RuntimeError):  # it has ended
                        self._asked[named] = self._thread.submit(self._told_of, named)
            return {named: self._asked[named] for named in names if named in self._asked}

    def _told_of(self, named: Named) -> FirstReason | None:
        try:
            return self._told(named)
        finally:
            with self._lock:
                del self._asked[named]

    def _told(self, named: Named) -> FirstReason | None:
        try:
            reason = self._project.history.first_reason(*named)
        except ShroffError:  # it may be told another time
            self._failed.get(named, lambda: True, AFTER_FAILURE_S)
            return None
        first = None
        if reason is not None:
            first = FirstReason(*reason_texts(reason), reason.code)
        with self._lock:
            self._kept[named] = first
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return first
