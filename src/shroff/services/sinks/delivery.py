"""Sinks of an opened project: delivery by the writer or by hand, and stuck rows."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from shroff.errors import UsageError
from shroff.runtime import state_folder
from shroff.services.notices.views import NoticeViews
from shroff.services.parts import ProjectPart, ProjectParts
from shroff.services.people.project_people import ProjectPeople
from shroff.services.sinks.routes import sink_routes, sink_systems
from shroff.services.writer.requests import WriterRequests
from shroff.streams.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import msgspec

    from shroff.notices.notification_worker import NoticeWorker
    from shroff.services.context import ProjectContext
    from shroff.streams.log import StuckKey, StuckRow
    from shroff.streams.sink_cursor import Courier, DeliveryHealth, DeliveryProgress
    from shroff.streams.sink_threads import Delivery
    from shroff.worker.outbox import SinkState


class SinkDelivery:
    """Deliveries of the process that writes the log: sinks and notifications, by the active settings.

    Args:
        couriers: Returns the couriers of the active sinks.
        held: Exit stack of the notification worker.
    """

    def __init__(
        self,
        context: ProjectContext,
        log: Log,
        delivery: Delivery,
        couriers: Callable[[], Sequence[Courier]],
        held: ExitStack,
    ) -> None:
        self._context, self._log, self._delivery, self._held = context, log, delivery, held
        self._couriers = couriers
        self._taken = context.taken.number
        self._telling: NoticeWorker | None = None
        self._tell_people()

    def tend(self) -> None:
        """Run between two batches and while idle, on the log's thread. Raises: as the log's `append`."""
        if self._taken != self._context.taken.number:
            self._taken = self._context.taken.number
            self._delivery.change(self._couriers())
            self._tell_people()
        self._delivery.tend()
        if self._telling is not None:
            self._telling.tend(self._log)
        self._log.maintain()  # cases, people and notices write even if no event arrives

    def finish_all(self) -> None:
        if self._telling is not None:
            self._telling.finish_all()

    def health(self, last_seq: int) -> list[DeliveryHealth]:
        notices = [] if self._telling is None else [self._telling.health()]
        return [*self._delivery.health(last_seq), *notices]

    def _tell_people(self) -> None:
        """Start or stop the notification worker, as the active settings require."""
        if ProjectParts(self._context).notice_files.tells() != (self._telling is not None):
            if self._telling is not None:
                self._telling.stop.set()  # only the end of leadership waits for its end, decisions do not
            ProjectParts(self._context).notices.begin_telling(self._log)
            telling = ProjectParts(self._context).notices.telling(self._log, lambda: self._delivery.health(0))
            self._telling = self._held.enter_context(telling)


TRIES = 3  # per sink in a delivery by hand


class Sinks(ProjectPart):
    """The sinks of a project."""

    _notices: NoticeViews
    _people: ProjectPeople
    _requests: WriterRequests

    def _alone(self) -> AbstractContextManager[None]:
        """Take the machine-wide delivery lock. Raises: LogBusyError if another process holds it."""
        message = "another process, such as 'shroff run', already delivers to the sinks of this project"
        return state_folder.lock_file(self._paths.state / "delivery.lock", message)

    @contextmanager
    def delivering(self, log: Log) -> Iterator[SinkDelivery]:
        """Deliver to the project's sinks and send notices, while this process writes the log.

        The start of each is recorded first, even if another process delivers, so that the next deliverer continues from
        there.

        Raises: LogBusyError if another process delivers on this machine; as `routes`.
        """
        from shroff.streams.sink_threads import begin, couriers_of, delivering

        def couriers() -> list[Courier]:
            return couriers_of(sink_routes(self._context), log, self._reader, self._now_ms)

        routes = sink_routes(self._context)
        begin(routes, log)
        self._notices.begin_telling(log)
        with (
            self._alone(),
            ExitStack() as held,  # the notification worker ends last: delivery creates notices on decisions
            delivering(routes, log, self._reader, self._now_ms) as delivery,
        ):
            yield SinkDelivery(self._context, log, delivery, couriers, held)

    def deliver(
        self, on_progress: Callable[[list[DeliveryHealth]], object] = lambda _states: None
    ) -> list[DeliveryHealth]:
        """Deliver all pending and retried rows, as far as sinks accept them; return the results.

        For projects without a worker, or with a writer that does not deliver. A sink that fails three times is skipped.
        `on_progress` is called several times a second.

        Raises: UsageError if there is no log, or no sink; LogBusyError if another process delivers.
        """
        from shroff.streams.sink_cursor import Courier
        from shroff.streams.sink_threads import Delivery
        from shroff.worker.outbox import outbox_request

        self._requests.needs_log("so nothing can be delivered")
        routes = sink_routes(self._context)
        if not routes:
            raise UsageError("this project has no sinks. Name one in shroff.yaml under 'sinks:'.")

        def record(moved: Sequence[DeliveryProgress]) -> None:
            self._ask_outbox(outbox_request(moved=moved))

        with self._alone():
            self._ask_outbox(outbox_request({route.name: route.from_now for route in routes}))
            with self._log.reading() as log:
                target = log.last_seq()
            delivery = Delivery([Courier(route, self._reader, self._now_ms) for route in routes], record)
            try:
                while not all(
                    courier.attempts >= TRIES or (courier.steps and courier.through >= target and not courier.retried)
                    for courier in delivery.couriers
                ):
                    delivery.tend()
                    on_progress(delivery.health(target))
                    time.sleep(0.05)
            except BaseException:
                delivery.stop()
                raise
            delivery.finish(target, within_s=0.0)
            return delivery.health(target)

    def states(self) -> list[SinkState]:
        """Get the position of each sink. Raises: UsageError if there is no log yet."""
        from shroff.worker.outbox import sink_states

        with self._log.reading() as log:
            return sink_states(log, sink_systems(self._systems))

    def stuck(self, sink: str = "") -> list[StuckRow]:
        """List stuck rows, of one sink or of all. Raises: UsageError if there is no log yet."""
        from shroff.worker.outbox import all_stuck

        with self._log.reading() as log:
            return [row for rows in all_stuck(log, sink) for row in rows]

    def retry(self, keys: Sequence[StuckKey] = (), sink: str = "") -> int:
        """Retry stuck rows, without keys all of a sink or of all sinks; return their number.

        The next delivery sends them. Raises: UsageError for a key without a stuck row.
        """
        return self._move_stuck("retry", keys, sink)

    def drop(self, keys: Sequence[StuckKey] = (), sink: str = "") -> int:
        """Drop stuck rows permanently; as `retry`. They stay in the log."""
        return self._move_stuck("drop", keys, sink)

    def _move_stuck(self, what: Literal["retry", "drop"], keys: Sequence[StuckKey], sink: str) -> int:
        """Retry or drop stuck rows page by page, through the process that writes the log; return their number."""
        import msgspec

        from shroff.worker.outbox import KEYS_MAX, outbox_request

        self._requests.needs_log("so nothing is stuck")
        chosen = keys or [row.key for row in self.stuck(sink)]
        subject = f"sink {sink}" if sink else "outbox"
        self._people.record(f"outbox.{what}", subject, None, {"rows": len(chosen)})
        moved = 0
        for at in range(0, len(chosen), KEYS_MAX):
            page = chosen[at : at + KEYS_MAX]
            result = self._ask_outbox(outbox_request(retry=page) if what == "retry" else outbox_request(drop=page))
            moved += msgspec.json.decode(result, type=dict[str, int])[what]
        return moved

    def _ask_outbox(self, body: bytes) -> msgspec.Raw:
        from shroff.worker.outbox import OUTBOX

        return self._requests.ask(OUTBOX, body)

    def _reader(self) -> Log:
        return self._log.open(read_only=True)
