"""Facts of an event for a notice, read from the log when it is sent, with money formatted and cards masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction

from shroff.engine.stored import decision_document, rule_reasons
from shroff.events.event import Event, canonical_value
from shroff.events.summary import NAMES
from shroff.explain.past import Past, PastDecision, reader_of
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.language.expression import Node, ThisField
from shroff.language.values import Value, is_zone, rescale_half_even, show
from shroff.log.history import Records
from shroff.notices.definitions import RECEIPT, FromEvent, Notice
from shroff.notices.texts.localization import card_end, has_card, money_text, plain
from shroff.notices.texts.mails import one_line
from shroff.notices.texts.words import LANGUAGES, WORDS
from shroff.people.addresses import is_address
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import reasons_of
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import DecisionRow, FlagRow, Log, Record

CARD = "card"  # name in `show` of a value of which only the last four digits of a card number are shown


class NoticeEvent(FrozenStruct):
    """An event of a notice: its values, personal values, decision and flags."""

    type: str
    id: str
    seq: int
    time_ms: int
    seen: PastDecision
    personal: TextMapping
    outcome: str
    receipt: str
    reasons: Sequence[tuple[str, str]]  # rule and recorded text
    flags: Sequence[FlagRow]

    @property
    def name(self) -> str:
        return f"{self.type}/{self.id}"


class Facts:
    """Reads events for notices."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self._records = Records(definitions.events, definitions.settings.money_places)
        self._reasons = reasons_of(definitions)
        self._read: Mapping[str, NoticeEvent] = {}

    def of(self, definitions: Definitions) -> Facts:
        """Return the reader for these definitions: this one if they are the same."""
        return self if definitions is self.definitions else Facts(definitions)

    def told(self, log: Log, name: str) -> NoticeEvent | None:
        """Return an event by a name such as `payment/p-1`; None if it does not exist, or its type is gone."""
        return self._read.get(name) or self.told_all(log, [name]).get(name)

    @contextmanager
    def read(self, log: Log, names: Sequence[str]) -> Iterator[None]:
        """Read these events at once, and cache them for `told` while the context is open."""
        self._read = self.told_all(log, names)
        try:
            yield
        finally:
            self._read = {}

    def told_all(self, log: Log, names: Sequence[str]) -> dict[str, NoticeEvent]:
        """Return the existing events of these names, read at once because many share a frame of the log."""
        ids: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            type_, _, id_ = name.partition("/")
            if type_ in self.definitions.events.types:
                ids.setdefault(type_, []).append(id_)
        events: dict[str, NoticeEvent] = {}
        for type_, wanted in ids.items():
            records = log.find(type_, wanted)
            rows = log.decisions.of(type_, [id_ for id_, record in records.items() if record.decided])
            personal = log.personal.of(type_, wanted) if self.definitions.events.types[type_].personal else {}
            for id_, record in records.items():
                event = self._records.decode(record)
                if isinstance(event, Event):
                    told = self._told(log, record, event, rows.get(id_), personal.get(id_, {}))
                    events[told.name] = told
        return events

    def _told(
        self, log: Log, record: Record, event: Event, row: DecisionRow | None, personal: TextMapping
    ) -> NoticeEvent:
        document = None if row is None else decision_document(row)
        return NoticeEvent(
            record.type,
            record.id,
            record.seq,
            record.time_ms,
            self._seen(log, record, event, document),
            personal,
            "" if row is None else row.outcome,
            "" if row is None else f"sha256:{row.receipt.hex()}",
            [(str(reason["code"]), str(reason["text"])) for reason in rule_reasons(document or {"reasons": ()})],
            [flag for rows in log.flags.after(record.seq - 1, record.seq) for flag in rows],
        )

    def _seen(self, log: Log, record: Record, event: Event, document: JsonMapping | None) -> PastDecision:
        if document is not None:
            return Past(log, self.definitions, self._records).seen(record, document)
        fields = dict(zip(self.definitions.events.types[event.type].field_names, event.values, strict=True))
        return PastDecision(fields, {}, {}, event.time_ms)

    # ---- what a notice reads

    def value(self, node: Node, told: NoticeEvent) -> Value:
        """Evaluate an expression for the event."""
        return reader_of(node, self.definitions.reference)(told.seen)

    def holds(self, notice: Notice, told: NoticeEvent) -> bool:
        """Whether the condition of a notice is true for the event."""
        return notice.when is None or self.value(notice.when, told) is True

    def said(self, of: str | FromEvent, told: NoticeEvent | None) -> str:
        """Return a setting, or the text that the event has in its place; empty if it has none."""
        if isinstance(of, str):
            return of
        if told is None:
            return ""
        if of.node is not None:
            value = self.value(of.node, told)
            return "" if value is None else show(value, of.node.type, self.definitions.settings.money_places)
        if of.field in told.personal:
            return told.personal[of.field]
        value = told.seen.fields.get(of.field)
        return value if isinstance(value, str) else ""

    def zone(self, notice: Notice, told: NoticeEvent | None) -> str:
        """Return the time zone for displayed times; UTC if the event's text is no time zone."""
        zone_name = self.said(notice.zone, told)
        return zone_name if zone_name and is_zone(zone_name) else "UTC"

    def language(self, notice: Notice, told: NoticeEvent | None) -> str:
        """Return the language of a text; English if the event's is not supported."""
        code = self.said(notice.language, told)[:2].lower()
        return code if code in LANGUAGES else LANGUAGES[0]

    def address(self, notice: Notice, told: NoticeEvent | None) -> str:
        """Return the recipient that an event names; empty if there is none, or it contains a card number."""
        address = "" if notice.to.of_event is None else self.said(notice.to.of_event, told)
        return address if is_address(address) and not has_card(address) else ""

    def reason(self, rule: str, stored: str) -> str:
        """Format a recorded reason for mails; without separators if these would hide a card number."""
        return plain(self._reasons(rule, stored) if plain(stored) == one_line(stored) else stored)

    def shown(self, notice: Notice, told: NoticeEvent, language: str) -> TextDict:
        """Return the values of `show` for people. A notice to staff without `show` has the event's summary."""
        nodes = notice.show or self._summary(notice, told)
        return {name: self._shown(name, node, told, language) for name, node in nodes.items()}

    def _summary(self, notice: Notice, told: NoticeEvent) -> dict[str, Node]:
        if notice.text_kind == RECEIPT:
            return {}
        type_ = self.definitions.events.types[told.type]
        amount = type_.amount_field
        fields = [type_.fields[type_.at(name)] for name in type_.summary if name in type_.field_names]
        named_fields = {
            "amount" if field is amount else field.name: ThisField(field.type, field.name) for field in fields
        }
        return {name: node for name, node in named_fields.items() if self.value(node, told) is not None}

    def _shown(self, name: str, node: Node, told: NoticeEvent, language: str) -> str:
        node = self._named_for_people(node, told)
        value = self.value(node, told)
        type_ = node.type
        settings = self.definitions.settings
        if value is None:
            return WORDS[language]["none"]
        if type_.kind == "money":
            units = rescale_half_even(int(value), type_.places, settings.money_places)
            return money_text(units, settings.money_places, settings.currency, language)
        text = show(value, type_, settings.money_places)
        if name != CARD:
            return plain(text)
        digits = card_end(text)
        return WORDS[language]["card_ending"].format(last=digits) if digits else WORDS[language]["none"]

    def _named_for_people(self, node: Node, told: NoticeEvent) -> Node:
        """Replace a field by the one with a readable name, as screens do: merchant by merchant_name."""
        if not isinstance(node, ThisField):
            return node
        type_ = self.definitions.events.types[told.type]
        for ending in NAMES:
            name = f"{node.name}{ending}"
            if name in type_.field_names:
                field = type_.fields[type_.at(name)]
                is_readable = field.type.is_text and not field.shape.is_hashed
                name_field = ThisField(field.type, name)
                if is_readable and self.value(name_field, told) is not None:
                    return name_field
        return node

    def document(self, notice: Notice, told: NoticeEvent) -> TextDict:
        """Return the values of `document`, each as JSON in the form of decisions."""
        places = self.definitions.settings.money_places
        return {
            name: canonical_value(self.value(node, told), node.type, places) for name, node in notice.document.items()
        }

    def paid_minor(self, told: NoticeEvent) -> int | None:
        """Return the event's amount in smallest units, else the policy's cost of a missed fraud; None without
        either.
        """
        amount = self.definitions.events.types[told.type].amount_field
        cost = self.definitions.policy(told.type).missed_fraud
        amount_node = cost if amount is None else ThisField(amount.type, amount.name)
        value = None if amount_node is None else self.value(amount_node, told)
        if amount_node is None or value is None:
            return None
        places = self.definitions.settings.money_places
        if amount_node.type.kind == "real":
            return round(Fraction(float(value)) * int(10**places))  # exact: a float would not always be
        return rescale_half_even(int(value), amount_node.type.places, places)
