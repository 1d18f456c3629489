"""Notifications without an event: due reports, silence on request, spikes, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from msgspec.json import decode as from_json

from shroff.events.definitions import Field
from shroff.events.field_roles import field_of, is_category
from shroff.features.frames import Frame
from shroff.language.columns import values_of
from shroff.language.expression import ThisField
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS, Value, day_at
from shroff.log.columns.stored import log_columns
from shroff.log.event_notes import DayCounts
from shroff.log.later_labels import places_between
from shroff.log.unmatched_files import unmatched_of
from shroff.monitoring.doctor import WRONG, look_at_waiting
from shroff.notices.reports.daily import report_due
from shroff.notices.reports.report_figures import reckoned
from shroff.notices.services import NoticeServices
from shroff.notices.store import FAILED, PARTLY, SENT, SHIPPED, Due
from shroff.notices.texts.localization import plain
from shroff.notices.triggers import due_of
from shroff.notices.usual_counts import (
    BUCKET_MS,
    HOUR,
    WEEK,
    Customer,
    UnusualCount,
    UsualCounts,
    amount_band,
    window_of,
)
from shroff.runtime.values import replace
from shroff.streams.log import Log
from shroff.streams.sink_cursor import DeliveryHealth

if TYPE_CHECKING:
    from shroff.notices.sql import NoticeStore

FLAGS = ("", "")
CUSTOMERS_MAX = 200_000  # customers in memory, 100 MB; one more clears the cache
CUSTOMER = ("card", "account", "customer")  # roles of a customer's key
LOOK_BACK = 2_000_000  # records of the last week counted at the start
QUARANTINE = "quarantine"
LOOKED_AT = 200  # newest letters checked, some times a minute
INACTIVE_MS = 10 * MINUTE_MS  # time for which files must be inactive before a notification
FAILS_MS = MINUTE_MS  # time for which something must fail before a notification


class ScheduledNotices:
    """Finds notifications that are due by the clock, some times a minute.

    Args:
        health: Returns the health of the delivery to each sink.
    """

    def __init__(
        self, services: NoticeServices, store: NoticeStore, log: Log, health: Callable[[], Sequence[DeliveryHealth]]
    ) -> None:
        self._services = services
        self._store = store
        self._log = log
        self._health = health
        self._flags = UsualCounts()
        self._counts = UsualCounts()
        self._customers = dict[tuple[str, str], Customer]()
        self._newest = dict[str | None, str]()  # newest customer by the unusual value
        self._flags_to = self._traffic_to = -1
        self._stamp: object = None
        self._files: list[str] = []  # inactive files, since `_since_ms`
        self._since_ms = 0
        self._started_ms = services.now_ms()
        # Quarantined records that were reported, and current number
        self._refused = self._refused_now = log.counts().refused

    def go_on(self, store: NoticeStore, log: Log) -> None:
        """Continue with the reopened store and log."""
        self._store = store
        self._log = log

    def look(self) -> int:
        """Store notifications that are due; return the number of new ones."""
        dues = [*self._reports(), *self._silence(), *self._spikes(), *self._traffic(), *self._failures()]
        if not dues:
            return 0
        with self._store.look() as queries:
            new_dues = [due for due in dues if queries.find(Due, due.key) is None]
        if not new_dues:
            return 0
        with self._store.change() as change:
            added = sum(change.add_due(due) for due in new_dues)
        if any(f"/failure-{QUARANTINE}" in due.key for due in new_dues):
            self._refused = self._refused_now
        return added

    def _reports(self) -> Iterator[Due]:
        notices = self._services.of_kind("report")
        if not notices:
            return
        now_ms = self._services.now_ms()
        first_batch = self._log.ingested(0, 1)
        begun_ms = (first_batch[0][1] or 0) if first_batch else now_ms + 1
        for notice in notices:
            due = report_due(notice, now_ms, begun_ms)
            if due is not None and not self._is_known(due):
                yield reckoned(self._services, notice, due, self._log)

    def _is_known(self, due: Due) -> bool:
        with self._store.look() as queries:
            return queries.find(Due, due.key) is not None

    def _silence(self) -> Iterator[Due]:
        """Report silence, if a notice asks for it: nothing happened, but the rules ran."""
        now_ms = self._services.now_ms()
        for notice in self._services.notices.values():
            if not notice.is_verbose or not notice.digest_ms:
                continue
            with self._store.look() as queries:
                is_quiet = not queries.waiting(notice.name, 1)
                last_ms = queries.last_made_ms(notice.name)
                last = queries.newest_due(notice.name, "nothing")
            silent_since_ms = last_ms or self._log_start_ms()
            if is_quiet and now_ms - silent_since_ms >= notice.digest_ms:
                definitions = self._services.definitions
                counts = DayCounts(self._log, self._log.pruned_to()).read_on(self._log)
                events = {type_: counts.of(type_) for type_ in definitions.events.decided}
                counts_before = {} if last is None else from_json(last.told).get("events", {})
                count = sum(max(events[type_] - counts_before.get(type_, 0), 0) for type_ in events)
                if not counts_before:  # the first one covers its interval, not the whole log
                    seqs = places_between(self._log, now_ms - notice.digest_ms, now_ms + 1)
                    count = sum(map(len, self._log.decisions.after(*seqs)))
                details = {"count": count, "events": events}
                due = due_of(notice, "nothing", f"nothing-{now_ms}", now_ms, told=details)
                yield replace(due, due_ms=now_ms)

    def _log_start_ms(self) -> int:
        """Return when the log's first record was ingested; the start of this process if the log is empty."""
        first = self._log.ingested(0, 1)
        return (first[0][1] or 0) if first else self._started_ms

    # ---- spikes

    def _spikes(self) -> Iterator[Due]:
        notices = self._services.of_kind("spike")
        if not notices:
            return
        self._flags_to, after = self._next(self._flags_to)
        for rows in self._log.flags.after(after, self._flags_to):
            for row in rows:
                self._flags.add(FLAGS, row.rule, row.time_ms)
        now_ms = self._services.now_ms()
        bucket = now_ms // BUCKET_MS
        for rule in self._flags.values(FLAGS):
            count = self._flags.recent(FLAGS, rule, bucket, HOUR)
            usual = self._flags.hourly(FLAGS, rule, bucket)
            for notice in notices:
                if count >= notice.least and count > notice.times_usual * usual:
                    details = {"count": count, "usual": f"{usual:.1f}"}
                    yield due_of(notice, "spike", f"spike-{rule}-{now_ms // HOUR_MS}", now_ms, rule=rule, told=details)

    def _traffic(self) -> Iterator[Due]:
        notices = self._services.of_kind("traffic")
        if not notices:
            return
        definitions = self._services.definitions
        now_ms = self._services.now_ms()
        self._traffic_to, after = self._next(self._traffic_to)
        for piece in log_columns(self._log, definitions, self._traffic_to, after=after, is_apart=True):
            for name, frame in piece.frames.items():
                if name in definitions.events.decided:
                    self._count(frame, now_ms)
        for unusual in self._counts.unusual(min(notice.least for notice in notices)):
            at_ms = unusual.bucket * BUCKET_MS
            window = window_of(unusual.value)
            key = f"traffic-{unusual.type}-{unusual.field}-{unusual.value}-{unusual.bucket // max(HOUR, window)}"
            details = {
                "field": unusual.field,
                "value": unusual.value,
                "count": unusual.events,
                "usual": f"{unusual.usual:.1f}",
                "minutes": window * 5,
                "path": self._decisions(unusual, window),
            }
            for notice in notices:
                if unusual.events >= notice.least and now_ms - at_ms <= notice.within_ms:
                    yield due_of(notice, "traffic", key, now_ms, told=details)

    def _count(self, frame: Frame, now_ms: int) -> None:
        """Count past events by amount, by fields whose values many events share, and by what is unusual for
        customers.
        """
        amount = frame.type.amount_field
        decimals = self._services.definitions.settings.money_places

        def read(field: Field | None) -> list[Value]:
            if field is None:
                return [None] * len(frame)
            return values_of(frame.evaluate(ThisField(field.type, field.name)))

        buckets = (frame.times // BUCKET_MS).tolist()
        # Values by field; the empty name stands for all events
        columns: list[tuple[str, list[Value]]] = [("", [""] * len(frame))]
        for field in frame.type.fields:
            if field == amount or is_category(field):
                key_values: list[Value] = [
                    amount_band(value, decimals) if isinstance(value, int) else value for value in read(field)
                ]
                columns.append((field.name, key_values))
        device_field, *customer_fields = (field_of(frame.type.fields, role) for role in ("device", *CUSTOMER))
        customer_field = next(filter(None, customer_fields), None)
        unusual_pairs = list[tuple[str | None, str | None]]()
        for customer, device, units, time_ms in zip(
            read(customer_field), read(device_field), read(amount), frame.times.tolist(), strict=True
        ):
            unusual: tuple[str | None, str | None] = (None, None)  # device, spending
            if isinstance(customer, str):
                if len(self._customers) > CUSTOMERS_MAX:
                    self._customers.clear()
                customer_key = frame.type.name, customer
                known_customer = self._customers.setdefault(customer_key, Customer(time_ms))
                unusual = known_customer.unusual(device, units, time_ms)
                self._newest |= dict.fromkeys(unusual, customer)
            unusual_pairs.append(unusual)
        if device_field is not None:
            columns.append((device_field.name, [device for device, _ in unusual_pairs]))
        if customer_field is not None:
            columns.append((customer_field.name, [spending for _, spending in unusual_pairs]))
        for name, values in columns:
            for (value, bucket), count in Counter(zip(values, buckets, strict=True)).items():
                if isinstance(value, str) and bucket * BUCKET_MS <= now_ms:
                    self._counts.add((frame.type.name, name), value, bucket * BUCKET_MS, count)

    def _decisions(self, unusual: UnusualCount, window: int) -> str:
        amount = self._services.definitions.events.types[unusual.type].amount_field
        is_amount = amount is not None and amount.name == unusual.field
        filters = {"text": self._newest.get(unusual.value, unusual.value)}
        if is_amount:
            filters = dict(zip(("min_amount", "max_amount"), unusual.value.split(" to "), strict=True))
        days = [f"{day_at((unusual.bucket + ago) * BUCKET_MS, 'UTC')}" for ago in (1 - window, 0)]
        query = {"outcome": "all", "event": unusual.type, "day": days[0], "last": days[1], "zone": "UTC", **filters}
        return f"/decisions?{urlencode(query)}"

    def _next(self, last_seq: int) -> tuple[int, int]:
        """Return the end of the log, and the sequence number after which to count; at first that of a week ago."""
        last = self._log.last_seq()
        now_ms = self._services.now_ms()
        if last_seq < 0:
            end_ms = self._log.watermark_ms() or now_ms
            week, _ = places_between(self._log, min(now_ms, end_ms) - WEEK * BUCKET_MS, now_ms)
            last_seq = max(week, last - LOOK_BACK)
        return last, last_seq

    # ---- failures

    def _failures(self) -> Iterator[Due]:
        notices = self._services.of_kind("failure")
        if not notices:
            return
        now_ms = self._services.now_ms()
        for key, message in self._failing(now_ms):
            for notice in notices:
                yield due_of(notice, "failure", f"failure-{key}", now_ms, told={"words": message})

    def _failing(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """Iterate over failures, each with a key that stays the same while it lasts."""
        for health in self._health():
            if health.trouble is not None and now_ms - health.trouble.since_ms >= FAILS_MS:
                message = f"sink {health.name} is failing: {health.trouble.words}"
                yield f"{health.name}-{health.trouble.since_ms}", plain(message)
        counts = self._log.counts()
        self._refused = min(self._refused, counts.refused)
        self._refused_now = counts.refused
        if counts.refused > self._refused:  # reported once an hour, with all since the last report
            message = f"{counts.refused - self._refused:,} more in quarantine; 'shroff quarantine list' says why"
            yield f"{QUARANTINE}-{now_ms // HOUR_MS}", message
        if counts.stuck:
            yield f"stuck-{now_ms // DAY_MS}", f"{counts.stuck:,} stuck; 'shroff outbox list' says why"
        waiting_labels = look_at_waiting(self._log, counts.waiting, now_ms)
        if waiting_labels.state == WRONG:
            yield f"labels-{now_ms // DAY_MS}", f"labels: {waiting_labels.words}; 'shroff label --pending' lists them"
        for name, message, at_ms in self._services.source_troubles():
            yield f"{name}-{at_ms}", plain(f"{name}: {message}")
        for name, message in self._services.failing_schedules():
            yield f"schedule-{name}-{now_ms // DAY_MS}", plain(f"schedule {name}: {message}")
        yield from self._letters(now_ms)
        yield from self._inactive(now_ms)
        for name, skipped in unmatched_of(self._log).items():
            if now_ms - skipped.at_ms < DAY_MS:
                yield (
                    f"unmatched-{name}-{skipped.at_ms}",
                    plain(f"no event type accepts a line of {name}; 'shroff doctor'"),
                )

    def _inactive(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """Report files that have been inactive for a while, once for each set of files."""
        services = self._services
        stamp = services.file_stamps(), services.taken.number, services.version_seq
        if stamp != self._stamp:
            inactive_files = list(services.inactive(self._log))
            if inactive_files != self._files:
                self._since_ms = now_ms
            self._stamp = stamp
            self._files = inactive_files
        if self._files and now_ms - self._since_ms >= INACTIVE_MS:
            message = f"only in files, and not active: {', '.join(self._files)}; 'shroff apply' makes them active"
            yield f"inactive-{self._since_ms}", plain(message)

    def _letters(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """Report letters that were not sent, once an hour, and those with a built-in text as a substitute, once a
        day.
        """
        with self._store.look() as queries:
            lost = queries.letters(FAILED, limit=LOOKED_AT)
            sent_letters = queries.letters([SENT], limit=LOOKED_AT)
        for message in lost:
            if message.done_ms > now_ms - HOUR_MS:
                outcome = "did not reach all its recipients" if message.state == PARTLY else "was not sent"
                failure_text = f"a message of notice {message.notice} {outcome}: {message.reason}"
                hint = "'shroff notices letters' has all"
                yield f"letters-{message.done_ms // HOUR_MS}", plain(f"{failure_text}; {hint}")
        for message in sent_letters:
            if message.done_ms > now_ms - DAY_MS and SHIPPED in message.reason:
                yield (
                    f"text-{message.notice}-{message.done_ms // DAY_MS}",
                    plain(f"notice {message.notice}: {message.reason}"),
                )
