"""What else there is of whom a case is about: events outside of it, its other keys, and its amounts up to now."""

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

LOOKED_AT = 50  # events of whom it is about, the newest
SHOWN = 8  # of those that never were in a case
KEYS_SHOWN = 4  # of each entity


class OtherEvent(FrozenStruct):
    """An event of whom a case is about that is not in it.

    Args:
        verdict: What an analyst answered, else the label that it has; empty for none.
        case: The newest case that it is in; None for none.
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
    """Keys of another entity in the newest events of whom a case is about.

    Args:
        keys: Those with most events first: name, number of events, path of its page.
        more: How many there are beside these.
    """

    entity: str
    keys: Sequence[tuple[str, int, str]]
    more: int


def others_of(service: Service, opened: CaseWithEvents) -> tuple[list[OtherEvent], list[KeysSeen], AmountChart | None]:
    """Events that are in other cases, the newest of the rest; keys in these events; the chart up to the newest.

    Cost: some ms, by the index of keys.
    """
    events = _newest(service, opened.line.case)
    own = {alert.named for alert in opened.detail.alerts}
    left = SHOWN
    shown = list[OtherEvent]()
    for event in events:
        if event.named not in own and (event.case is not None or left):
            shown.append(event)
            left -= event.case is None
    return shown, _seen(service.project.definitions, opened.line.case.entity, events), _amounts(opened, events)


def _seen(definitions: Definitions, own: str, events: Sequence[OtherEvent]) -> list[KeysSeen]:
    found: dict[str, Counter[str]] = {}
    names: dict[tuple[str, str], str] = {}
    for event in events:
        for entity, key in keys_of(definitions, event.found.record).items():
            found.setdefault(entity, Counter())[key] += 1
            names.setdefault((entity, key), event.summary.names.get(entity, key))
    return [
        KeysSeen(
            entity,
            [(names[entity, key], count, entity_path(entity, key)) for key, count in keys.most_common(KEYS_SHOWN)],
            max(0, len(keys) - KEYS_SHOWN),
        )
        for entity, keys in found.items()
        if entity != own
    ]


def _newest(service: Service, case: Case) -> list[OtherEvent]:
    project = service.project
    definitions = project.definitions
    try:
        with project.log.reading() as log:
            events = project.history.entities(log).timeline(case.entity, case.key, limit=LOOKED_AT).events
    except ShroffError:  # it is about an event alone, or an entity that the project has no more
        return []
    with service.cases.store.look() as looks:
        alerts = {
            alert.named: alert for alert in looks.alerts_of([(event.record.type, event.record.id) for event in events])
        }
        cases = looks.cases({alert.case for alert in alerts.values()})
    found = list[OtherEvent]()
    for event in events:
        type_ = event.record.type
        id_ = event.record.id
        alert = alerts.get(f"{type_}/{id_}")
        other = None if alert is None else cases.get(alert.case)
        is_hidden = alert is None or (other is not None and other.look == SECOND)  # somebody else is to say it anew
        summary = summary_in(definitions, event.record)
        path = decision_path(type_, id_) if event.outcome else ""
        verdict = "" if alert is None or is_hidden else alert.verdict or alert.label
        found.append(OtherEvent(event, summary, path, verdict, other))
    return found


def _amounts(opened: CaseWithEvents, events: Sequence[OtherEvent]) -> AmountChart | None:
    """Return the chart of the most important event, with later amounts in order of time."""
    top = opened.top
    chart = None if opened.looked is None else opened.looked.amounts
    if top is None or opened.looked is None or chart is None or chart.entity != opened.line.case.entity:
        return chart
    later = [
        Amount(event.found.record.time_ms, Decimal(event.summary.amount))
        for event in events
        if event.found.record.type == top.alert.event and event.found.record.time_ms > top.alert.time_ms
        if event.summary.amount
    ]
    later.sort(key=lambda amount: amount.time_ms)
    return amount_chart(opened.looked.explained.amounts, top.alert.event, top.summary.currency, later)
