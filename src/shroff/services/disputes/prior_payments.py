"""Prior payments of a disputed one, for Visa's Compelling Evidence 3.0.

It needs two earlier payments with the same card, 120 to 365 calendar days before the disputed one, neither disputed nor
fraud, that share two elements with it and each other: the device or the IP address, and another one of device, IP
address, parcel address and login.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import msgspec

from shroff.engine.stored import decision_document
from shroff.events.definitions import EventType
from shroff.events.event import Event, TimeText, time_text
from shroff.events.field_roles import field_of
from shroff.explain.entities import fields_of
from shroff.explain.key_events import KeyEvents
from shroff.features.naive import Key
from shroff.json_types import JsonObject, TextDict, TextMapping
from shroff.language.expression import ThisField
from shroff.language.values import DAY_MS
from shroff.log.history import Records
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, Record

DAYS = range(120, 366)
NETWORK = "visa"
CODE = "10.4"
MAIN = ("device", "ip")
ELEMENTS = (*MAIN, "address", "login")
_ROLES = {  # roles of the payment's fields, most likely first
    "card": ("card",),
    "device": ("device",),
    "ip": ("network",),
    "address": ("parcel", "address"),
    "login": ("login", "account", "customer", "mail"),
}


class PriorPayment(FrozenStruct, kw_only=True):
    """An earlier payment: its fields, its days before the disputed one, and their shared elements."""

    event: str
    time: TimeText
    days: int
    matches: list[str]
    fields: JsonObject
    receipt: str | None


class PriorEvidence(msgspec.Struct, kw_only=True, frozen=True):
    """Result for Compelling Evidence 3.0: eligible or not, why, the two payments, and the elements shared by all."""

    eligible: bool
    why: str
    matches: list[str] = []
    payments: list[PriorPayment] = []


def element_fields(type_: EventType, named: TextMapping) -> TextDict:
    """Map the card and each element to their field of an event type; elements without a field are left out.

    `evidence` of `cases` in shroff.yaml names the field; otherwise its name decides.
    """
    field_names = {
        element: field.name for element, name in named.items() for field in type_.fields if field.name == name
    }
    for element, roles in _ROLES.items():
        free = [
            field for field in type_.fields if field.name not in field_names.values() and element not in field_names
        ]
        if (field := next((field for role in roles if (field := field_of(free, role))), None)) is not None:
            field_names[element] = field.name
    return field_names


class PriorPayments:
    """Finds prior payments in one log, for one version of a project, with labels known at a given time.

    `named` is `evidence` of `cases` in shroff.yaml.
    """

    def __init__(self, log: Log, definitions: Definitions, named: TextMapping, as_of_ms: int | None = None) -> None:
        self._log, self._definitions, self._named, self._as_of_ms = log, definitions, named, as_of_ms
        self._records = Records(definitions.events, definitions.settings.money_places)
        self._events = KeyEvents(log, definitions, self._records)
        self._lateness_ms = lateness_of(log, definitions)

    def of(self, record: Record, network: str | None, code: str | None) -> PriorEvidence:
        """Return the evidence for a disputed payment. An unknown network or code counts as Visa's 10.4.

        Cost: one query of the card's index, and 50 µs for each of its events up to 365 days before.
        """
        if (network or NETWORK).lower() != NETWORK or (code or CODE) != CODE:
            return PriorEvidence(eligible=False, why="It is for disputes by Visa with reason code 10.4.")
        event, type_ = self._records.decode(record), self._definitions.events.types[record.type]
        fields = element_fields(type_, self._named)
        entity = self._entity(type_, fields.get("card", ""))
        own = _elements(record, fields)
        if entity is None or not isinstance(event, Event):
            return PriorEvidence(eligible=False, why="No entity has the card as its key.")
        if not own.keys() & set(MAIN) or len(own) < 2:
            return PriorEvidence(eligible=False, why="It lacks a device or IP address and a second value to compare.")
        key = self._events.keyed.keys(event, [entity]).get(entity)
        payments = [] if key is None else sorted(self._undisputed(record, entity, key), key=lambda past: -past.time_ms)
        shared = {
            past.seq: {name for name, value in _elements(past, fields).items() if own.get(name) == value}
            for past in payments
        }
        pairs = [{main, other} for main, other in product(MAIN, ELEMENTS) if main != other]
        groups = [[past for past in payments if pair <= shared[past.seq]][:2] for pair in pairs]
        common = [
            (shared[first.seq] & shared[second.seq], (first, second))
            for first, second in (g for g in groups if len(g) == 2)
        ]
        if not common:
            count = sum(bool(shared[past.seq]) for past in payments)
            return PriorEvidence(
                eligible=False,
                why=f"Of {len(payments)} undisputed payments by this card 120 to 365 days before, {count} share one "
                "element, and no two the same two elements.",
            )
        matches, two = max(common, key=lambda item: len(item[0]))
        unknown = " Check that it is Visa's 10.4." if network is None or code is None else ""
        return PriorEvidence(
            eligible=True,
            why=f"Two undisputed payments share {' and '.join(sorted(matches))}.{unknown}",
            matches=sorted(matches),
            payments=[self._payment(past, record, sorted(shared[past.seq])) for past in two],
        )

    def _entity(self, type_: EventType, card: str) -> str | None:
        for name, entity in self._definitions.events.entities.items():
            parts = entity.keys.get(type_.name, ())
            if len(parts) == 1 and isinstance(parts[0], ThisField) and parts[0].name == card:
                return name
        return None

    def _undisputed(self, record: Record, entity: str, key: Key) -> Iterator[Record]:
        """Yield the card's payments in the period, without declined, disputed or fraudulent ones and card checks."""
        oldest_ms = record.time_ms - (DAYS.stop + 1) * DAY_MS - self._lateness_ms
        (found,) = self._events.index.places([(entity, key)], of_labels=True).values()
        places = found.tolist()
        bad = {event for label in self._log.records_at(places).values() for event in self._doubted(label)}
        amount = self._definitions.events.types[record.type].amount_field
        for _, part in self._events.backwards(self._log.last_seq(), {entity: [key]}):
            near = [
                past
                for past in part
                if past.type == record.type
                and _days(record, past) in DAYS
                and f"{past.type}/{past.id}" not in bad
                and float((amount and fields_of(past).get(amount.name)) or 1) != 0
            ]
            rows = self._log.decisions.of(record.type, [past.id for past in near])
            yield from (past for past in near if past.id not in rows or rows[past.id].outcome != "decline")
            if part and max(past.time_ms for past in part) < oldest_ms:
                return

    def _doubted(self, label: Record) -> Iterator[str]:
        fields = fields_of(label)
        if self._as_of_ms is not None and label.time_ms > self._as_of_ms:
            return
        if fields["verdict"] == "fraud" or fields["source"] == "chargeback":
            yield fields["event"]

    def _payment(self, past: Record, record: Record, matches: list[str]) -> PriorPayment:
        row = self._log.decisions.of(past.type, [past.id]).get(past.id)
        return PriorPayment(
            event=f"{past.type}/{past.id}",
            time=time_text(past.time_ms),
            days=_days(record, past),
            matches=matches,
            fields=fields_of(past),
            receipt=None if row is None else decision_document(row)["receipt"],
        )


def _days(record: Record, past: Record) -> int:
    return record.time_ms // DAY_MS - past.time_ms // DAY_MS


def _elements(record: Record, fields: TextMapping) -> TextDict:
    values = fields_of(record)
    return {
        name: " ".join(str(values[fields[name]]).casefold().split())
        for name in ELEMENTS
        if values.get(fields.get(name, "")) is not None
    }
