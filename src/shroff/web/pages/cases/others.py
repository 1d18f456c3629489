"""Further data about the key of a case: events outside of the case, related keys, and a chart of amounts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from shroff.cases.case import SECOND, Case
from shroff.errors import ShroffError
from shroff.events.summary import EventSummary
from shroff.explain.entities import KeyEvent, keys_of, summary_in
from shroff.explain.past import Amount
from shroff.runtime.values import FrozenStruct
from shroff.web.pages.charts.amounts import AmountChart, amount_chart
from shroff.web.pages.decision import decision_path, entity_path

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.web.pages.cases.casework import CaseWithEvents
    from shroff.web.service import Service

LOOKED_AT = 50  # newest events of the key that are read
SHOWN = 8  # events without a case
KEYS_SHOWN = 4  # keys of each entity


class OtherEvent(FrozenStruct):
    """An event of the case's key that is not in the case.

    Args:
        verdict: The analyst's verdict, else the event's label, else empty.
        case: The newest case of the event, if it has one.
    """

    found: KeyEvent
    summary: EventSummary
    path: str
    verdict: str
    case: Case | None

    @property
    def named(self) -> str:
        return f"{self.found.record.type}/{self.found.record.id}"

    @property
    def waits(self) -> bool:
        return self.case is not None and self.case.is_open and not self.verdict


class KeysSeen(FrozenStruct):
    """Keys of another entity in the newest events of the case's key.

    Args:
        keys: Name, number of events and path of each, those with most events first.
        more: Number of further keys.
    """

    entity: str
    keys: Sequence[tuple[str, int, str]]
    more: int


def others_of(service: Service, opened: CaseWithEvents) -> tuple[list[OtherEvent], list[KeysSeen], AmountChart | None]:
    """Return events of other cases and the newest without a case, the keys of these events, and the chart of amounts.

    Cost: some ms, by the index of keys.
    """
    events = _newest(service, opened.case.entity, opened.case.key)
    own = {alert.event for alert in opened.case.alerts}
    remaining = SHOWN
    shown = list[OtherEvent]()
    for event in events:
        if event.named not in own and (event.case is not None or remaining):
            shown.append(event)
            remaining -= event.case is None
    return shown, _seen(service.project.definitions, opened.case.entity, events), _amounts(opened, events)


def _seen(definitions: Definitions, own: str, events: Sequence[OtherEvent]) -> list[KeysSeen]:
    counts_by_entity: dict[str, Counter[str]] = {}
    names: dict[tuple[str, str], str] = {}
    for event in events:
        for entity, key in keys_of(definitions, event.found.record).items():
            counts_by_entity.setdefault(entity, Counter())[key] += 1
            names.setdefault((entity, key), event.summary.names.get(entity, key))
    return [
        KeysSeen(
            entity,
            [(names[entity, key], count, entity_path(entity, key)) for key, count in keys.most_common(KEYS_SHOWN)],
            max(0, len(keys) - KEYS_SHOWN),
        )
        for entity, keys in counts_by_entity.items()
        if entity != own
    ]


def _newest(service: Service, entity: str, key: str) -> list[OtherEvent]:
    project = service.project
    definitions = project.definitions
    try:
        with project.log.reading() as log:
            events = project.history.entities(log).timeline(entity, key, limit=LOOKED_AT).events
    except ShroffError:  # the case is about an event, or about an entity that is no longer declared
        return []
    with service.cases.store.look() as reader:
        alerts = {
            alert.named: alert for alert in reader.alerts_of([(event.record.type, event.record.id) for event in events])
        }
        cases = reader.cases({alert.case for alert in alerts.values()})
    others = list[OtherEvent]()
    for event in events:
        type_ = event.record.type
        id_ = event.record.id
        alert = alerts.get(f"{type_}/{id_}")
        other = None if alert is None else cases.get(alert.case)
        # A second reviewer must not see the first verdict
        is_hidden = alert is None or (other is not None and other.look == SECOND)
        summary = summary_in(definitions, event.record)
        path = decision_path(type_, id_) if event.outcome else ""
        verdict = "" if alert is None or is_hidden else alert.verdict or alert.label
        others.append(OtherEvent(event, summary, path, verdict, other))
    return others


def _amounts(opened: CaseWithEvents, events: Sequence[OtherEvent]) -> AmountChart | None:
    """Return the chart of the most important event, with later amounts in order of time."""
    top = opened.top
    chart = None if opened.looked is None else opened.looked.amounts
    if top is None or opened.looked is None or chart is None or chart.entity != opened.case.entity:
        return chart
    later = [
        Amount(event.found.record.time_ms, Decimal(event.summary.amount))
        for event in events
        if event.found.record.type == top.alert.event and event.found.record.time_ms > top.alert.time_ms
        if event.summary.amount
    ]
    later.sort(key=lambda amount: amount.time_ms)
    return amount_chart(opened.looked.explained.amounts, top.alert.event, top.summary.currency, later)
