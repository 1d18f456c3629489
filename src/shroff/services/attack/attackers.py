"""Seeded attackers on an event type: the payments of each, modelled on events of the project's customers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from shroff.errors import UsageError
from shroff.events.event import Event
from shroff.events.field_roles import KEYS, field_of, is_named
from shroff.language.expression import Aggregate, Compare, Literal, ThisField, unconverted, walk
from shroff.language.values import DAY_MS, HOUR_MS, MINUTE_MS, Value
from shroff.project.dependency_hash import read_by

if TYPE_CHECKING:
    from shroff.events.definitions import EventType, Field
    from shroff.language.expression import Node
    from shroff.project.definitions import Definitions

INVENTED_START_MS = 1_767_571_200_000  # 2026-01-05T00:00:00Z
CUSTOMERS, SHOPS, INVENTED, INVENTED_DAYS = 60, 30, 900, 30
HABITUAL = 3  # events after which a customer is a possible victim
TRIES = 4  # after which an adaptive attacker drops a payment
WAIT_MS = 4 * HOUR_MS


class Attack(NamedTuple):
    """Parameters of a kind of attack; pairs are minimum and maximum.

    Args:
        cards: Cards of each attacker; `payments` for each card, with `gap_ms` between two.
        factor: Amount, relative to the customer's mean.
        is_remote: It comes from the attacker's own device and address.
        is_invented: The cards are new.
        is_trying: The payments are tiny, and a large one follows once the card is known to work.
    """

    attackers: int
    cards: tuple[int, int]
    payments: tuple[int, int]
    gap_ms: tuple[int, int]
    factor: tuple[float, float]
    is_remote: bool = True
    is_invented: bool = False
    is_trying: bool = False


ATTACKS: Final[Mapping[str, Attack]] = {
    "card_testing": Attack(8, (1, 1), (5, 8), (10_000, 80_000), (0.8, 5.0), is_trying=True),
    "takeover": Attack(8, (1, 1), (2, 4), (4 * MINUTE_MS, 3 * HOUR_MS), (0.8, 6.0)),
    "mule": Attack(6, (1, 1), (4, 10), (3 * MINUTE_MS, 50 * MINUTE_MS), (1.0, 4.0), is_remote=False),
    "ring": Attack(3, (6, 10), (1, 2), (5 * MINUTE_MS, 40 * MINUTE_MS), (0.8, 3.0), is_invented=True),
    "slow_drip": Attack(6, (1, 1), (8, 16), (2 * HOUR_MS, 7 * HOUR_MS), (0.1, 0.4)),
}


class AttackPayment(Struct):
    """A payment of an attacker, modelled on a customer's event; `tries` counts its detections so far."""

    attacker: int
    model: Event
    event: Event
    tries: int = 0


class AttackedType:
    """Fields of an event type that attackers fill, by the names that proposals know.

    Raises: UsageError if it has no money or no customer.
    """

    def __init__(self, definitions: Definitions, name: str) -> None:
        self.type: EventType = definitions.events.types[name]
        fields = self.type.fields
        cost = definitions.missed_fraud(name)
        money = {part.name for part in walk(cost) if isinstance(part, ThisField)} if cost else set[str]()
        amounts = [at for at, field in enumerate(fields) if field.type.kind == "money" and field.name in money]
        keys = {
            part.name
            for entity in definitions.events.entities.values()
            for part in entity.keys.get(name, ())
            if isinstance(part, ThisField)
        }
        self.device, self.network, self.merchant = map(self._at, ("device", "network", "merchant"))
        others = {self.device, self.network, self.merchant}
        cards = [self._at("card"), self._at("account"), self._at("customer")]
        cards += [at for at, field in enumerate(fields) if field.name in keys and at not in others]
        card = next((at for at in cards if at is not None), None)
        if not amounts or card is None:
            raise UsageError(
                f"{name} needs a field of money and one with a customer's key; choose another type with --as."
            )
        self.amount, self.card, self.places = amounts[0], card, fields[amounts[0]].type.places
        self._limits = {rule.id: self._limits_of(rule.when, definitions) for rule in definitions.rules}

    def _limits_of(self, when: Node, definitions: Definitions) -> tuple[list[int], list[int]]:
        """Return the amounts in minor units that just fail a condition, and the lengths of its windows."""
        parts = read_by([when], definitions.features.get).parts
        amounts = [
            limit.value * 10**self.places // 10**limit.type.places - (part.operator == sign + "=")
            for part in parts
            if isinstance(part, Compare)
            for sign, side, other in ((">", part.left, part.right), ("<", part.right, part.left))
            if part.operator.startswith(sign)
            and unconverted(side).type.kind == "money"
            and isinstance(limit := unconverted(other), Literal)
            and isinstance(limit.value, int)
        ]
        return amounts, [part.over_ms for part in parts if isinstance(part, Aggregate) and part.over_ms]

    def _at(self, role: str) -> int | None:
        field = field_of(self.type.fields, role)
        return None if field is None else self.type.fields.index(field)

    def with_values(self, event: Event, id_: str, time_ms: int, changes: Mapping[int | None, Any]) -> Event:
        """Copy an event with another id, time and values; a field is changed only if the event has it."""
        type_, values = self.type, list(event.values)
        for at, value in changes.items():
            if at is not None and values[at] is not None:
                values[at] = value
        for at, field in enumerate(type_.fields):
            if field.shape.is_unique:
                values[at] = id_ if field.type.kind == "text" else None
        values[type_.at(type_.id_field)], values[type_.at(type_.time_field)] = id_, time_ms
        return Event(type_.name, id_, time_ms, tuple(values))

    def invented(self, chance: Random) -> list[Event]:
        """Generate payments of synthetic customers over 30 days, for a project with an empty log."""
        id_, time = self.type.id_field, self.type.time_field
        times = sorted(INVENTED_START_MS + chance.randrange(INVENTED_DAYS * DAY_MS) for _ in range(INVENTED))
        means = [int(10**self.places * chance.lognormvariate(3.2, 0.5)) + 1 for _ in range(CUSTOMERS)]

        def value(at: int, field: Field, customer: int, number: int) -> Value:
            match field.type.kind:
                case "text" if at == self.merchant:
                    return f"shop-{number % SHOPS}"
                case "text" if any(is_named(field.name, role) for role in KEYS):
                    return f"{field.name}-{customer}"
                case "text":
                    return f"place-{customer % 3}"  # equal in all fields, such as home and shop location
                case "choice":
                    return str(chance.choice(field.type.choices))
                case "money":
                    return int(means[customer] * chance.uniform(0.5, 1.8))
                case "number":
                    return int(10**field.type.places)
                case "boolean":
                    return False
                case "time":
                    return times[number]
                case _:
                    return 1

        events = []
        for number, time_ms in enumerate(times):
            customer = chance.randrange(CUSTOMERS)
            values = tuple(value(at, field, customer, number) for at, field in enumerate(self.type.fields))
            event = Event(self.type.name, "", time_ms, values)
            events.append(self.with_values(event, f"{id_}-{number}", time_ms, {self.type.at(time): time_ms}))
        return events

    def attack(self, kind: str, seen: Sequence[Event], start_ms: int, chance: Random) -> list[AttackPayment]:
        """Generate the payments of all attackers of a kind, each attacker's in time order.

        Args:
            seen: Events of customers; the victims are those with a few events.
            start_ms: The attackers begin in the two hours after it.
        """
        how, by_card = ATTACKS[kind], defaultdict[object, list[Event]](list)
        for event in seen:
            if event.values[self.card] is not None and self.units(event):
                by_card[event.values[self.card]].append(event)
        histories = [events for events in by_card.values() if len(events) >= HABITUAL] or list(by_card.values())
        remote = [event for events in histories for event in events if self._is_remote(event)]
        merchants = sorted({str(event.values[self.merchant]) for event in seen}) if self.merchant is not None else [""]
        payments = list[AttackPayment]()
        for attacker in range(how.attackers):
            at_ms = start_ms + chance.randrange(2 * HOUR_MS)
            own: dict[int | None, Any] = {
                at: f"{kind}-{attacker}-{chance.randrange(16**8):08x}" for at in (self.device, self.network)
            }
            for card in range(chance.randint(*how.cards)):
                victim = chance.choice(histories)
                models = [event for event in victim if self._is_remote(event)] if how.is_remote else victim
                model = chance.choice(models or remote or victim)
                mean = sum(map(self.units, victim)) / len(victim)
                own[self.card] = f"{kind}-{attacker}-{card}" if how.is_invented else victim[0].values[self.card]
                count = chance.randint(*how.payments)
                own[self.merchant] = chance.choice(merchants)
                for number in range(count + how.is_trying):
                    at_ms += chance.randrange(*how.gap_ms)
                    amount = mean * chance.uniform(*how.factor)
                    if how.is_trying and number < count:
                        amount = chance.uniform(0.15, 2.4) * 10**self.places
                    elif how.is_trying or chance.random() < 0.5:
                        own[self.merchant] = chance.choice(merchants)
                    event = self.with_values(
                        model,
                        f"attack-{kind}-{len(payments) + 1}",
                        at_ms,
                        (own if how.is_remote else {key: own[key] for key in (self.card, self.merchant)})
                        | {self.amount: max(1, int(amount))},
                    )
                    payments.append(AttackPayment(attacker, model, event))
        return payments

    def units(self, event: Event) -> int:
        value = event.values[self.amount]
        return value if isinstance(value, int) else 0

    def _is_remote(self, event: Event) -> bool:
        marks = [at for at in (self.device, self.network) if at is not None]
        return not marks or any(event.values[at] is not None for at in marks)

    def softened(self, payments: Sequence[AttackPayment], alarms: Mapping[str, Sequence[str]]) -> list[AttackPayment]:
        """Adapt an attack after a probe. A payment that raised an alarm moves to the model's device, to the next amount
        that the alarming rules let pass, else to half, and after their windows, a longer one with each try.

        It is dropped after some tries; the attacker's later payments are delayed equally.

        Args:
            alarms: The rules behind the alarm of each event, by its id; unknown rule ids stand for a score.
        """
        found, waited = list[AttackPayment](), defaultdict[int, int](int)
        for payment in payments:
            changes: dict[int | None, Any] = {}
            if payment.event.id in alarms:
                if payment.tries == TRIES:
                    continue
                limits = [self._limits[rule] for rule in alarms[payment.event.id] if rule in self._limits]
                windows = sorted({ms for _, windows in limits for ms in windows}) or [WAIT_MS]
                waited[payment.attacker] += windows[min(payment.tries, len(windows) - 1)]
                payment.tries += 1
                units = self.units(payment.event)
                below = [amount for amounts, _ in limits for amount in amounts if 0 < amount < units]
                changes = {at: payment.model.values[at] for at in (self.device, self.network) if at is not None}
                changes[self.amount] = max(below, default=max(1, units // 2))
            event, wait_ms = payment.event, waited[payment.attacker]
            payment.event = self.with_values(event, event.id, event.time_ms + wait_ms, changes)
            found.append(payment)
        return found
