"""Group commit for the people store: changes that requests make at the same time share one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from shroff.web.http.concurrency_limits import beside

if TYPE_CHECKING:
    from shroff.people.audit import Act
    from shroff.people.sql import Change
    from shroff.people.store import PeopleStore
    from shroff.services.project import Project

Step: TypeAlias = "Callable[[Change, int], object]"  # called with the change and its time in ms


class StoreChanges:
    """Makes changes of the people store and its audit log, all that wait in one transaction. For one event loop.

    Args:
        in_thread: Runs a function that waits for the store.
    """

    def __init__(
        self, project: Project, store: PeopleStore, in_thread: Callable[..., Coroutine[Any, Any, None]]
    ) -> None:
        self._project = project
        self._store = store
        self._in_thread = in_thread
        self._steps: list[tuple[Step, asyncio.Future[None]]] = []
        self._making: asyncio.Future[None] | None = None

    async def record(self, act: Act) -> None:
        """Add an entry to the audit log, like `make`."""
        await self.make(lambda change, now_ms: change.audit(act, now_ms))

    async def make(self, step: Step) -> None:
        """Make a change; it is durable on return. Raises: the error of its transaction.

        `step` must not raise, since that would undo the changes of other requests. Canceling the caller does
        not undo or stop the change.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._steps.append((step, done))
        if self._making is None or self._making.done():
            self._making = beside(self._make_all())
        await done

    async def _make_all(self) -> None:
        while self._steps:
            batch = self._steps
            self._steps = []
            failure = None
            try:
                await self._in_thread(self._take_steps, [step for step, _ in batch])
            except Exception as error:  # noqa: BLE001 - `make` raises it for each waiting request
                failure = error
            for _, done in batch:
                if done.done():  # the request was canceled
                    continue
                if failure is not None:
                    done.set_exception(failure)
                else:
                    done.set_result(None)

    def _take_steps(self, steps: Sequence[Step]) -> None:
        now_ms = self._project.context.now_ms()
        with self._store.change() as change:
            for step in steps:
                step(change, now_ms)
