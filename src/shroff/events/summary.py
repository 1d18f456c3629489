"""The summary of an event for screens: the few fields that show who was paid, how much, where and how.

It affects no decision, so it is not part of versions, snapshots or receipts.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from shroff.errors import Problem, nearest
from shroff.events.keys import EVENTS, SUMMARY
from shroff.language import loader
from shroff.language.expression import ORIGINAL_AMOUNT
from shroff.language.types import places_of
from shroff.language.yaml.text import Mapping, Node, Scalar
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.events.definitions import EventType, Field

USUAL = ("merchant", "country", "city", "channel", "device")  # parts of field names, in the order of display
USUAL_MAX = 5
PAID = ("merchant", "payee", "recipient", "beneficiary", "receiver", "shop")
NAMES = ("_name", "_label")  # merchant_name, or else merchant_label, is shown in place of the merchant's key
TEXT_MAX = 120  # characters
_BARE = ("text", "choice")  # kinds whose values are clear without the field's name


class SummaryPart(FrozenStruct):
    """One field of a summary. `is_bare` means that its text is clear without its label."""

    field: str
    label: str
    text: str
    is_bare: bool = True

    @property
    def says(self) -> str:
        """The text, with the label if it needs one: `web`, but `installments 12`."""
        return self.text if self.is_bare else f"{self.label} {self.text}"


class EventSummary(FrozenStruct):
    """Summary of an event for people.

    Args:
        amount: Its amount as decimal text with all places (`1661.90`); empty without one.
        currency: Currency of the amount.
        parts: Its other fields that have a value, in the order of display.
        names: Display names of its keys, by entity.
        original: The amount as it was sent in another currency: `200.00 USD`; else empty.
    """

    amount: str
    currency: str
    parts: tuple[SummaryPart, ...]
    names: MappingOf[str, str] = msgspec.field(default_factory=dict)
    original: str = ""

    def name_of(self, entity: str, key: str) -> str:
        """Return the display name of an entity's key in this event, such as `•••• 4821`; the key if it has none."""
        return self.names.get(entity, key)

    @property
    def money(self) -> str:
        """The amount, such as `1,661.90 EUR` or `184.00 EUR (200.00 USD)`; empty without one."""
        own = amount_text(self.amount, self.currency) if self.amount else ""
        return f"{own} ({self.original})" if own and self.original else own or self.original

    @property
    def payee(self) -> str:
        """The counterparty: the first part whose field is named like one; empty without one."""
        return next(
            (part.text for part in self.parts if _kind(part.field, PAID) and not _kind(part.field, USUAL[1:])), ""
        )

    @property
    def title(self) -> str:
        """The title, such as `389.90 EUR to Corvane Electronics`; empty without any part."""
        to = self.payee
        if not self.money:
            return to or (self.parts[0].says if self.parts else "")
        return f"{self.money} to {to}" if to else self.money

    @property
    def rest(self) -> tuple[str, ...]:
        """Parts that `title` leaves out, such as `web`, `Germany`."""
        to = self.payee
        shown = [part.says for part in self.parts if not to or part.text != to]
        return tuple(shown if self.money or to else shown[1:])

    @property
    def line(self) -> str:
        """The whole summary in one line, such as `389.90 EUR to Corvane Electronics, web`."""
        return ", ".join(part for part in (self.title, *self.rest) if part)


NOTHING = EventSummary("", "", ())


def summary_of(type_: EventType | None, fields: MappingOf[str, Any], currency: str) -> EventSummary:
    """Return the summary of an event from its fields as the log stores them.

    A `_name` is shown before a `_label`, which may be a code. A hashed field is no display name.
    """
    if type_ is None:
        return NOTHING
    by_name = {field.name: field for field in type_.fields}
    shown = [by_name[name] for name in type_.summary if fields.get(name) is not None]
    money = type_.amount_field
    amount = money if money in shown else None
    parts = tuple(
        SummaryPart(
            field.name, label_of(field.name), _text(field, fields[field.name], currency), field.type.kind in _BARE
        )
        for field in shown
        if field is not amount
    )
    names = {
        field.name.removesuffix(ending): str(fields[field.name])[:TEXT_MAX]
        for ending in reversed(NAMES)
        for field in type_.fields
        if field.name.endswith(ending) and field.type.is_text and not field.shape.is_hashed
        if fields.get(field.name) is not None
    }
    own = "" if amount is None else str(fields[amount.name])
    original = _original(money, fields, currency)
    return EventSummary(own, currency, parts, names, original)


def _original(money: Field | None, fields: MappingOf[str, Any], currency: str) -> str:
    sent = None if money is None else fields.get(f"{money.name}.{ORIGINAL_AMOUNT}")
    code = None if money is None else fields.get(money.shape.currency)
    if sent is None or code is None or code == currency:
        return ""
    return amount_text(f"{Decimal(sent):.{places_of(code)}f}", code)


def label_of(field: str) -> str:
    return field.replace("_", " ").replace(".", " ")


def amount_text(value: str | Decimal, currency: str) -> str:
    """Write an amount, such as `1,661.90 EUR`."""
    return f"{Decimal(value):,f} {currency}".rstrip()


def load_summary(
    node: Node | None, fields: Sequence[Field], personal: Sequence[Field], problems: list[Problem], event: str
) -> tuple[str, ...]:
    """Return the names of the fields that describe an event, in order: as declared, else the usual ones.

    Mistakes in the declaration are added to `problems`.
    """
    if node is None:
        return usual(fields)
    found = list[str]()
    known = [field.name for field in fields]
    hidden = {field.name for field in personal}
    listed = loader.sequence(node, problems, f"{SUMMARY} of {event}")
    for item in listed.items if listed is not None else ():
        name = loader.scalar(item, problems, f"a field in {SUMMARY} of {event}")
        if name is None:
            continue
        if name.text in hidden:
            name.report(
                problems, f"{SUMMARY} of {event}: {name.text} is personal, and screens do not show personal fields."
            )
        elif name.text not in known:
            hint = nearest(name.text, known)
            name.report(problems, f"{SUMMARY} of {event}: {event} has no field {name.text!r}.", hint)
        elif name.text in found:
            name.report(problems, f"{SUMMARY} of {event} names {name.text} twice.")
        else:
            found.append(name.text)
    return tuple(found)


def without_summaries(events: Node | None) -> Node | None:
    """Return events.yaml without the `summary` of event types, which affects no decision."""
    if not isinstance(events, Mapping):
        return events
    return replace(events, entries=tuple((key, _without_summary(key, of)) for key, of in events.entries))


def _without_summary(key: Scalar, of: Node) -> Node:
    if key.text in EVENTS.names or not isinstance(of, Mapping):
        return of
    return replace(of, entries=tuple(entry for entry in of.entries if entry[0].text != SUMMARY))


def usual(fields: Sequence[Field]) -> tuple[str, ...]:
    """Return the default summary: the first money field, then fields named like one of `USUAL`, at most five in all."""
    money = [field.name for field in fields if field.type.kind == "money"][:1]
    named = [
        field.name for word in USUAL for field in fields if _kind(field.name) == word and field.type.kind != "money"
    ]
    return tuple(dict.fromkeys([*money, *named]))[:USUAL_MAX]


def _kind(field: str, words: Sequence[str] = USUAL) -> str:
    return next((word for word in reversed(words) if word in field), "")


def _text(field: Field, value: Any, currency: str) -> str:
    kind = field.type.kind
    if kind == "money":
        return amount_text(str(value), currency)
    if kind in ("integer", "number"):
        return f"{Decimal(str(value)):,f}"
    if kind == "boolean":
        return "yes" if value else "no"
    if kind == "time":
        return f"{str(value)[:16].replace('T', ' ')} UTC"
    if kind == "real":
        return f"{value:.6g}"
    if kind == "duration":
        return f"{value:,.6g} s"
    text = str(value)
    if field.shape.is_hashed:
        return f"•••• {text.split(':', 2)[-1]}".rstrip()
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"
