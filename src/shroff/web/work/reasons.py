"""A cache of the first reasons of decisions, for pages. It stays valid, since a recorded decision never changes."""

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
EXPLAINED_FRESH_S = 60.0  # maximum age; then a restored model or a longer index may explain more
WITHIN_S = 0.1  # wait of a page for reasons that are not cached
WAITING_MAX = 200  # events whose reasons wait to be computed
AFTER_FAILURE_S = 60.0  # wait before another try; a model's file may be missing for days

Named = tuple[str, str]  # the type and id of an event


class FirstReason(FrozenStruct):
    """The main reason of a decision: the fact, and what is normal for the entity (empty for a rule)."""

    text: str
    normal: str
    code: str


class FirstReasons:
    """The first reasons of a project's decisions. For any thread.

    A page waits only briefly for reasons, which one thread computes; the rest is ready at its next visit.
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
        """Return the explanation of a decision, at most a minute old. Raises: as `Project.explain`."""
        cached = self._explained.peek((event, id_), EXPLAINED_FRESH_S)
        return cached or self._explained.get(
            (event, id_), lambda: self._project.explain(f"{event}/{id_}"), EXPLAINED_FRESH_S
        )

    def of(self, events: Iterable[Named], within_s: float | None = WITHIN_S) -> dict[Named, FirstReason | None]:
        """Return the first reasons that are cached or computed within `within_s`, in the order of the events.

        A reason is None if there is none or computing it failed; events without a result in time are left out. With
        `within_s` None the caller's own thread computes them. Cost: 50 ms for each that is not cached.
        """
        names = list(dict.fromkeys(events))
        with self._lock:
            unknown = [named for named in names if named not in self._kept]
        failed = [named for named in unknown if self._failed.peek(named, AFTER_FAILURE_S)]
        unknown = [named for named in unknown if named not in failed]
        if within_s is None:
            reasons = {named: self._computed(named) for named in unknown}
        else:
            pending = self._ask(unknown)
            wait(pending.values(), within_s)
            reasons = {
                named: future.result() for named, future in pending.items() if future.done() and not future.cancelled()
            }
        reasons.update(dict.fromkeys(failed))
        with self._lock:
            for named in names:
                if named in self._kept:
                    self._kept.move_to_end(named)
                    reasons[named] = self._kept[named]
        return {named: reasons[named] for named in names if named in reasons}

    def end(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ask(self, names: Iterable[Named]) -> dict[Named, Future[FirstReason | None]]:
        """Queue the computation of reasons on the thread; leave out events beyond `WAITING_MAX`."""
        with self._lock:
            for named in names:
                if named not in self._asked and len(self._asked) < WAITING_MAX:
                    with suppress(RuntimeError):  # the thread has ended
                        self._asked[named] = self._thread.submit(self._compute_asked, named)
            return {named: self._asked[named] for named in names if named in self._asked}

    def _compute_asked(self, named: Named) -> FirstReason | None:
        try:
            return self._computed(named)
        finally:
            with self._lock:
                del self._asked[named]

    def _computed(self, named: Named) -> FirstReason | None:
        try:
            reason = self._project.history.first_reason(*named)
        except ShroffError:  # a later try may succeed
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
