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

    def notice_event(self, log: Log, name: str) -> NoticeEvent | None:
        """Return an event by a name such as `payment/p-1`; None if it does not exist, or its type is gone."""
        return self._read.get(name) or self.notice_events(log, [name]).get(name)

    @contextmanager
    def read(self, log: Log, names: Sequence[str]) -> Iterator[None]:
        """Read these events at once, and cache them for `notice_event` while the context is open."""
        self._read = self.notice_events(log, names)
        try:
            yield
        finally:
            self._read = {}

    def notice_events(self, log: Log, names: Sequence[str]) -> dict[str, NoticeEvent]:
        """Return the existing events of these names, read at once because many share a frame of the log."""
        ids: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            type_, _, id_ = name.partition("/")
            if type_ in self.definitions.events.types:
                ids.setdefault(type_, []).append(id_)
        events: dict[str, NoticeEvent] = {}
        for type_, wanted_ids in ids.items():
            records = log.find(type_, wanted_ids)
            rows = log.decisions.of(type_, [id_ for id_, record in records.items() if record.decided])
            personal = log.personal.of(type_, wanted_ids) if self.definitions.events.types[type_].personal else {}
            for id_, record in records.items():
                event = self._records.decode(record)
                if isinstance(event, Event):
                    notice_event = self._event_of(log, record, event, rows.get(id_), personal.get(id_, {}))
                    events[notice_event.name] = notice_event
        return events

    def _event_of(
        self, log: Log, record: Record, event: Event, row: DecisionRow | None, personal: TextMapping
    ) -> NoticeEvent:
        document = None if row is None else decision_document(row)
        return NoticeEvent(
            record.type,
            record.id,
            record.seq,
            record.time_ms,
            self._past_decision(log, record, event, document),
            personal,
            "" if row is None else row.outcome,
            "" if row is None else f"sha256:{row.receipt.hex()}",
            [(str(reason["code"]), str(reason["text"])) for reason in rule_reasons(document or {"reasons": ()})],
            [flag for rows in log.flags.after(record.seq - 1, record.seq) for flag in rows],
        )

    def _past_decision(self, log: Log, record: Record, event: Event, document: JsonMapping | None) -> PastDecision:
        if document is not None:
            return Past(log, self.definitions, self._records).seen(record, document)
        fields = dict(zip(self.definitions.events.types[event.type].field_names, event.values, strict=True))
        return PastDecision(fields, {}, {}, event.time_ms)

    # ---- what a notice reads

    def value(self, node: Node, notice_event: NoticeEvent) -> Value:
        return reader_of(node, self.definitions.reference)(notice_event.seen)

    def holds(self, notice: Notice, notice_event: NoticeEvent) -> bool:
        return notice.when is None or self.value(notice.when, notice_event) is True

    def text_of(self, source: str | FromEvent, notice_event: NoticeEvent | None) -> str:
        """Return a setting, or the text that the event has in its place; empty if it has none."""
        if isinstance(source, str):
            return source
        if notice_event is None:
            return ""
        if source.node is not None:
            value = self.value(source.node, notice_event)
            return "" if value is None else show(value, source.node.type, self.definitions.settings.money_places)
        if source.field in notice_event.personal:
            return notice_event.personal[source.field]
        value = notice_event.seen.fields.get(source.field)
        return value if isinstance(value, str) else ""

    def zone(self, notice: Notice, notice_event: NoticeEvent | None) -> str:
        """Return the time zone for displayed times; UTC if the event's text is no time zone."""
        zone_name = self.text_of(notice.zone, notice_event)
        return zone_name if zone_name and is_zone(zone_name) else "UTC"

    def language(self, notice: Notice, notice_event: NoticeEvent | None) -> str:
        """Return the language of a text; English if the event's is not supported."""
        code = self.text_of(notice.language, notice_event)[:2].lower()
        return code if code in LANGUAGES else LANGUAGES[0]

    def address(self, notice: Notice, notice_event: NoticeEvent | None) -> str:
        """Return the recipient that an event names; empty if there is none, or it contains a card number."""
        address = "" if notice.to.of_event is None else self.text_of(notice.to.of_event, notice_event)
        return address if is_address(address) and not has_card(address) else ""

    def reason(self, rule: str, stored: str) -> str:
        """Format a recorded reason for mails; without separators if these would hide a card number."""
        return plain(self._reasons(rule, stored) if plain(stored) == one_line(stored) else stored)

    def display_texts(self, notice: Notice, notice_event: NoticeEvent, language: str) -> TextDict:
        """Return the values of `show` for people. A notice to staff without `show` has the event's summary."""
        nodes = notice.show or self._summary(notice, notice_event)
        return {name: self._display_text(name, node, notice_event, language) for name, node in nodes.items()}

    def _summary(self, notice: Notice, notice_event: NoticeEvent) -> dict[str, Node]:
        if notice.text_kind == RECEIPT:
            return {}
        type_ = self.definitions.events.types[notice_event.type]
        amount = type_.amount_field
        fields = [type_.fields[type_.at(name)] for name in type_.summary if name in type_.field_names]
        named_fields = {
            "amount" if field is amount else field.name: ThisField(field.type, field.name) for field in fields
        }
        return {name: node for name, node in named_fields.items() if self.value(node, notice_event) is not None}

    def _display_text(self, name: str, node: Node, notice_event: NoticeEvent, language: str) -> str:
        node = self._readable_field(node, notice_event)
        value = self.value(node, notice_event)
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

    def _readable_field(self, node: Node, notice_event: NoticeEvent) -> Node:
        """Replace a field by the one with a readable name, as screens do: merchant by merchant_name."""
        if not isinstance(node, ThisField):
            return node
        type_ = self.definitions.events.types[notice_event.type]
        for ending in NAMES:
            name = f"{node.name}{ending}"
            if name in type_.field_names:
                field = type_.fields[type_.at(name)]
                is_readable = field.type.is_text and not field.shape.is_hashed
                name_field = ThisField(field.type, name)
                if is_readable and self.value(name_field, notice_event) is not None:
                    return name_field
        return node

    def document(self, notice: Notice, notice_event: NoticeEvent) -> TextDict:
        """Return the values of `document`, each as JSON in the form of decisions."""
        decimals = self.definitions.settings.money_places
        return {
            name: canonical_value(self.value(node, notice_event), node.type, decimals)
            for name, node in notice.document.items()
        }

    def paid_minor(self, notice_event: NoticeEvent) -> int | None:
        """Return the event's amount in smallest units, else the policy's cost of a missed fraud; None without
        either.
        """
        amount = self.definitions.events.types[notice_event.type].amount_field
        cost = self.definitions.policy(notice_event.type).missed_fraud
        amount_node = cost if amount is None else ThisField(amount.type, amount.name)
        value = None if amount_node is None else self.value(amount_node, notice_event)
        if amount_node is None or value is None:
            return None
        decimals = self.definitions.settings.money_places
        if amount_node.type.kind == "real":
            return round(Fraction(float(value)) * int(10**decimals))  # exact: a float would not always be
        return rescale_half_even(int(value), amount_node.type.places, decimals)
