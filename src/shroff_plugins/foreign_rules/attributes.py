"""Translate attributes of Stripe Radar into expressions over a project's fields, and features to declare.

The user's mapping comes first, then a field of the attribute's name, then an expression over other fields. Any other
attribute is refused with the field, entity or feature that is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import field

from shroff.errors import nearest
from shroff.json_types import TextMapping
from shroff.plugins.events import Events, Field
from shroff.plugins.features import Feature
from shroff.plugins.language import (
    HOUR_MS,
    MINUTE_MS,
    Call,
    DeclaredNames,
    Else,
    ExpressionError,
    FeatureValue,
    Literal,
    Node,
    Scope,
    ThisField,
    Type,
    check,
    text_of,
)
from shroff.plugins.values import FrozenStruct
from shroff_plugins.foreign_rules.syntax import Attribute, Place, RadarError

TEXT = "text"
EXACT = "exact"
COUNTRY = "country"
NUMBER = "number"
TRUTH = "truth"
_WORDS = {
    TEXT: "risk_level billing_address billing_address_line1 billing_address_line2 billing_address_postal_code "
    "billing_address_city shipping_address shipping_address_line1 shipping_address_line2 "
    "shipping_address_postal_code shipping_address_city card_bin card_brand card_funding card_3d_secure_support "
    "charge_description statement_descriptor browser isp operating_system user_agent email email_domain ip_address "
    "ip_address_connection_type cardholder_name currency digital_wallet transaction_type",
    EXACT: "card_fingerprint customer destination address_line1_check address_zip_check cvc_check",
    COUNTRY: "card_country ip_country ip_state billing_address_country billing_address_state shipping_address_country "
    "shipping_address_state",
    NUMBER: "risk_score distance_between_billing_and_shipping_address distance_between_ip_and_billing_address "
    "distance_between_ip_and_shipping_address",
    TRUTH: "is_3d_secure is_3d_secure_authenticated has_liability_shift is_new_card_on_customer is_disposable_email "
    "is_anonymous_ip is_my_login_ip is_checkout is_off_session is_recurring has_cryptogram",
}
KINDS: Final[TextMapping] = {name: kind for kind, names in _WORDS.items() for name in names.split()}
FIELD_TYPES = {TEXT: "text?", EXACT: "text?", COUNTRY: "text?", NUMBER: "number?", TRUTH: "boolean?"}
_CASES = {TEXT: "lower", COUNTRY: "upper"}  # case in which Radar compares texts; other kinds are compared unchanged
# Other names that a project may use for the same field or entity
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "billing_address_country": ("billing_country",),
    "card_fingerprint": ("card", "card_number", "card_id", "pan"),
    "card_funding": ("funding",),
    "customer": ("customer_id", "user", "user_id"),
    "digital_wallet": ("wallet",),
    "email": ("mail", "email_address"),
    "ip_address": ("ip", "ip_addr"),
    "shipping_address_country": ("shipping_country",),
}
ENTITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "billing_address": ("billing_address",),
    "card": ("card", "card_number"),
    "card_number": ("card", "card_number"),
    "customer": ("customer", "user", "client"),
    "email": ("email", "mail"),
    "ip": ("ip", "ip_address", "ip_addr"),
    "ip_address": ("ip", "ip_address", "ip_addr"),
    "shipping_address": ("shipping_address",),
}
_FOLDED_KEYS = frozenset({"billing_address", "email", "shipping_address"})  # texts in which capitals occur
_WINDOWS = {"hourly": "1h", "daily": "24h", "weekly": "7d", "yearly": "365d", "all_time": ""}
_PER = r"(billing_address|card_number|card|customer|email|ip_address|ip|shipping_address)"
_WINDOW = r"(hourly|daily|weekly|yearly|all_time)"
_CHARGES = re.compile(rf"(total|authorized|declined|blocked)_charges_per_{_PER}_{_WINDOW}")
_DIFFERENT = re.compile(rf"(card|email|name)_count_for_{_PER}_{_WINDOW}")
_CUSTOMERS = re.compile(rf"total_(customer)s_for_{_PER}_{_WINDOW}")
_DISPUTES = re.compile(rf"dispute_count_on_{_PER}_{_WINDOW}")
_AMOUNT = re.compile(r"amount_in_([a-z]{3})")
_AMOUNTS = re.compile(
    r"(average|total)_([a-z]{3})_amount_(attempted|charged|successful|failed)_on_(card|customer)_all_time"
)
_SINCE = re.compile(r"(seconds|minutes|hours)_since_(card|email)_first_seen")
_UNITS_MS = {"seconds": 1_000, "minutes": MINUTE_MS, "hours": HOUR_MS}
_COUNTED = {"card": "card_fingerprint", "email": "email", "name": "cardholder_name", "customer": "customer"}
_DISPUTE = "label.verdict == 'fraud' and label.source == 'chargeback'"
_AS_MAPPED = "or say what it is in the mapping, under attributes"


class Mapped(FrozenStruct):
    """The user's mapping of attributes: expressions over the event, names of entities, conditions of past charges.

    `charges` has conditions by which an earlier payment was authorized, declined or blocked; `outcomes` has the effects
    of a detector's outcomes.
    """

    attributes: TextMapping = field(default_factory=dict)
    entities: TextMapping = field(default_factory=dict)
    lists: TextMapping = field(default_factory=dict)
    charges: TextMapping = field(default_factory=dict)
    outcomes: TextMapping = field(default_factory=dict)


class Meaning(FrozenStruct):
    """Meaning of an attribute in a project.

    Args:
        text: An expression that needs no parentheses beside an operator.
        kind: Kind of the attribute (`KINDS`), which determines how texts are compared.
        unit_ms: Unit of a duration in milliseconds.
        own_case: `lower` or `upper` if all values of the expression are in this case.
    """

    text: str
    type: Type
    kind: str
    is_hashed: bool = False
    unit_ms: int = 0
    own_case: str = ""

    @property
    def case(self) -> str:
        """The case in which values are compared, `lower` or `upper`; empty if they are compared unchanged."""
        if self.is_hashed:
            return ""
        return _CASES.get(self.kind, self.own_case)

    def in_case(self, case: str) -> str:
        return f"{case}({self.text})" if case not in {"", self.own_case} else self.text


class Added(FrozenStruct):
    """A feature that must be declared."""

    entity: str
    name: str
    text: str
    type: Type


class RadarTarget(FrozenStruct):
    """The event type of a project for which rules are imported, and what its expressions can use."""

    event: str
    events: Events
    features: Mapping[str, Feature]
    names: DeclaredNames
    currency: str
    mapped: Mapped = field(default_factory=Mapped)


class Attributes:
    """Translates attributes for a project. `added` has the features that they need and the project lacks."""

    def __init__(self, target: RadarTarget) -> None:
        self.target = target
        self.added: dict[str, Added] = {}
        self.notes: list[str] = []
        self._fields = {declared.name: declared for declared in target.events.types[target.event].fields}
        self._entities = [name for name, entity in target.events.entities.items() if target.event in entity.keys]

    def type_of(self, name: str) -> Type | None:
        if name in self.added:
            return self.added[name].type
        feature = self.target.features.get(name)
        return None if feature is None else feature.type

    def names(self) -> list[str]:
        return [*self.target.features, *self.added]

    def meaning(self, attribute: Attribute) -> Meaning:
        """Return the meaning of an attribute. Raises: RadarError that names what is missing."""
        name = attribute.name
        mapped = self.target.mapped.attributes.get(name)
        if mapped is not None:
            return self._meaning_of_text(attribute, mapped)
        meaning = self._field(slug(name) if attribute.is_metadata else name)
        if meaning is not None:
            return self._meaning_of_field(meaning, EXACT if attribute.is_metadata else KINDS.get(name, EXACT))
        if attribute.is_metadata:
            raise self._missing_error(attribute, f"the metadata {name}", f"{slug(name)}: text?")
        for pattern, make in self._patterns():
            parts = pattern.fullmatch(name)
            if parts is not None:
                return make(attribute, parts)
        return self._derive(attribute)

    # ---- the user's mapping, and fields

    def _meaning_of_text(self, attribute: Attribute, text: str) -> Meaning:
        node = self.checked(text, attribute.place)
        kind = EXACT if attribute.is_metadata else KINDS.get(attribute.name, EXACT)
        unit = attribute.name.partition("_")[0]
        operand = text if isinstance(node, ThisField | FeatureValue) else f"({text})"
        unit_ms = _UNITS_MS.get(unit, 1_000)
        is_hashed = isinstance(node, ThisField) and self._fields[node.name].shape.is_hashed
        return Meaning(operand, node.type, kind, is_hashed, unit_ms, own_case=_case_of(node))

    def checked(self, text: str, position: Place) -> Node:
        """Type an expression over the event. Raises: RadarError."""
        try:
            return check(text, self.scope("the mapping"))
        except ExpressionError as error:
            raise RadarError(f"{text!r}: {error.message}", position, error.hint) from None

    def scope(self, subject: str) -> Scope:
        return Scope(
            self.target.names,
            what=subject,
            this=(self.target.event,),
            feature=self.type_of,
            feature_names=self.names,
            reads_score=True,
        )

    def _field(self, name: str) -> Field | None:
        return next((self._fields[alias] for alias in (name, *FIELDS.get(name, ())) if alias in self._fields), None)

    def _meaning_of_field(self, declared: Field, kind: str) -> Meaning:
        shape = declared.shape
        return Meaning(f"this.{declared.name}", declared.type, kind, shape.is_hashed, 1_000)

    # ---- derived from other fields

    def _patterns(self) -> list[tuple[re.Pattern[str], Callable[[Attribute, re.Match[str]], Meaning]]]:
        return [
            (_AMOUNT, self._amount),
            (_CHARGES, self._charges),
            (_DIFFERENT, self._different),
            (_CUSTOMERS, self._different),
            (_DISPUTES, self._disputes),
            (_AMOUNTS, self._amounts),
            (_SINCE, self._since),
        ]

    def _amount(self, attribute: Attribute, parts: re.Match[str]) -> Meaning:
        return self._meaning_of_field(self._money(attribute, parts[1]), NUMBER)

    def _money(self, attribute: Attribute, currency: str) -> Field:
        project_currency = self.target.currency
        if currency.upper() != project_currency:
            hint = f"Use amount_in_{project_currency.lower()}, {_AS_MAPPED}: 'this.amount * 1.08'."
            message = f"{attribute.shown} is in {currency.upper()}, and this project's money is {project_currency}."
            raise RadarError(message, attribute.place, hint)
        amount_field = self.target.events.types[self.target.event].amount_field
        if amount_field is None:
            raise self._missing_error(attribute, "an amount", "amount: money")
        return amount_field

    def _charges(self, attribute: Attribute, parts: re.Match[str]) -> Meaning:
        which, per, window = parts.groups()
        event = self.target.event
        name = f"{event}s" if which == "total" else f"{which}_{event}s"
        return self._feature(attribute, per, name, f"count({event}{self._where(attribute, which)})", window)

    def _where(self, attribute: Attribute, which: str) -> str:
        """Return the ` where` clause for charges with this result. Raises: RadarError."""
        event = self.target.event
        condition = self.target.mapped.charges.get(which)
        if which != "total" and condition is None:
            message = f"nothing in the log says which {event} was {which}, as {attribute.shown} asks."
            hint = (
                f"Give {event}, or an event of its own, a field that says it, and write under charges in the mapping "
                f"such as '{which}: {event}.result == ...'."
            )
            raise RadarError(message, attribute.place, hint)
        return f" where {condition}" if condition else ""

    def _different(self, attribute: Attribute, parts: re.Match[str]) -> Meaning:
        subject, per, window = parts.groups()
        attribute_counted = Attribute(_COUNTED[subject], attribute.place)
        declared = self._field(attribute_counted.name)
        if declared is None:
            raise self._missing_error(attribute, f"a {subject}", f"{attribute_counted.name}: text?")
        value = f"{self.target.event}.{declared.name}"
        if KINDS[attribute_counted.name] == TEXT:
            if declared.shape.is_hashed:
                self._note(f"{attribute.shown} counts {declared.name} as it is written: a hash of it has no case.")
            else:
                value = f"lower({value})"
        return self._feature(attribute, per, f"{subject}s", f"distinct({value})", window)

    def _disputes(self, attribute: Attribute, parts: re.Match[str]) -> Meaning:
        per, window = parts.groups()
        return self._feature(attribute, per, "disputes", f"count(label where {_DISPUTE}) of each source", window)

    def _amounts(self, attribute: Attribute, parts: re.Match[str]) -> Meaning:
        how, currency, which, per = parts.groups()
        money = self._money(attribute, currency)
        event = self.target.event
        word = {"attempted": "total", "charged": "total", "successful": "authorized", "failed": "declined"}[which]
        function, prefix = ("mean", "mean") if how == "average" else ("sum", "total")
        name = f"{prefix}_{money.name}"
        if word != "total":
            name = f"{name}_{word}"
        value = f"{event}.{money.name}{self._where(attribute, word)}"
        return self._feature(attribute, per, name, f"{function}({value})", "all_time")

    def _since(self, attribute: Attribute, parts: re.Match[str]) -> Meaning:
        unit, per = parts.groups()
        event = self.target.events.types[self.target.event]
        text = f"this.{event.time_field} - first({event.name}.{event.time_field})"
        return self._feature(attribute, per, "since_first", text, "all_time", unit_ms=_UNITS_MS[unit])

    def _derive(self, attribute: Attribute) -> Meaning:
        name = attribute.name
        if name == "email_domain" and (mail := self._field("email")) is not None and not mail.shape.is_hashed:
            return Meaning(f"domain(this.{mail.name})", mail.type, TEXT, own_case="lower")
        if name == "is_new_card_on_customer" and (card := self._field("card_fingerprint")) is not None:
            event = self.target.event
            text = f"count({event} where {event}.{card.name} == this.{card.name})"
            earlier_times = self._feature(attribute, "customer", "times_with_card", text, "all_time")
            node = self.checked(f"{earlier_times.text} == 0", attribute.place)
            return Meaning(f"({earlier_times.text} == 0)", node.type, TRUTH)
        kind = KINDS.get(name)
        if kind is None:
            hint = nearest(name, KINDS) or f"Its meaning can be given in the mapping, under attributes: '{name}: ...'."
            raise RadarError(f"{attribute.shown} is not known.", attribute.place, hint)
        if name in {"risk_score", "risk_level"}:
            such = "score * 100" if kind == NUMBER else "'highest' when score >= 0.9 else 'normal'"
            hint = f"Let the policy judge the model's score ('shroff thresholds'), {_AS_MAPPED}: {name}: \"{such}\""
            raise RadarError(f"{attribute.shown} is Stripe's own model.", attribute.place, hint)
        raise self._missing_error(attribute, name, f"{name}: {FIELD_TYPES[kind]}")

    # ---- features

    def _feature(
        self, attribute: Attribute, per: str, name: str, aggregate: str, window: str, *, unit_ms: int = 0
    ) -> Meaning:
        """Return a feature with this aggregate per entity: the project's own if it has one, else a new one.

        Raises: RadarError if the entity is missing, or the aggregate is not valid.
        """
        entity = self._entity(attribute, per)
        length = _WINDOWS[window]
        text = f"{aggregate} over {length}" if length else aggregate
        keys = self.target.events.entities[entity].keys
        scope = Scope(
            self.target.names,
            what=attribute.shown,
            this=tuple(type_ for type_ in self.target.events.types if type_ in keys),
            entity=entity,
        )
        try:
            node = check(text, scope)
        except ExpressionError as error:
            raise RadarError(f"{attribute.shown}: {error.message}", attribute.place, error.hint) from None
        for feature in self.target.features.values():
            if feature.entity == entity and feature.node == node:
                return Meaning(feature.name, node.type, NUMBER, unit_ms=unit_ms)
        base = f"{entity}.{name}_{length}" if length else f"{entity}.{name}"
        while (is_taken := base in self.target.features) or (base in self.added and self.added[base].text != text):
            base += "_radar" if is_taken else "_2"
        self.added[base] = Added(entity, base.partition(".")[2], text, node.type)
        return Meaning(base, node.type, NUMBER, unit_ms=unit_ms)

    def _entity(self, attribute: Attribute, per: str) -> str:
        mapped_entity = self.target.mapped.entities.get(per)
        chosen = next(
            (entity for entity in ((mapped_entity,) if mapped_entity else ENTITIES[per]) if entity in self._entities),
            None,
        )
        if chosen is not None:
            self._check_case(attribute, per, chosen, is_named=mapped_entity is not None)
            return chosen
        event = self.target.event
        likely = mapped_entity or ENTITIES[per][0]
        hint = (
            f"Declare it under entities in events.yaml, such as '{likely}: {{ {event}: FIELD }}', or name yours in the "
            f"mapping, under entities: '{per}: NAME'."
        )
        raise RadarError(f"{attribute.shown} needs an entity for {per.replace('_', ' ')}.", attribute.place, hint)

    def _check_case(self, attribute: Attribute, per: str, entity: str, *, is_named: bool) -> None:
        """Refuse an entity with case-sensitive keys if Radar ignores case; if the mapping names it, add a note."""
        keys = self.target.events.entities[entity].keys[self.target.event]
        if per not in _FOLDED_KEYS or any(_case_of(key_name) for key_name in keys):
            return
        message = f"{attribute.shown} counts per {per.replace('_', ' ')} whatever its case, and entity {entity} tells"
        if is_named:
            self._note(f"{message} capitals apart.")
            return
        event = self.target.event
        key = keys[0]
        key_text = f"{event}.{key.name}" if isinstance(key, ThisField) else text_of(key)
        hint = (
            f"Let its key be in one case, such as '{entity}: {{ {event}: lower({key_text}) }}', or say in the mapping "
            f"that it will do, under entities: '{per}: {entity}'."
        )
        raise RadarError(f"{message} capitals apart.", attribute.place, hint)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _missing_error(self, attribute: Attribute, missing: str, declared: str) -> RadarError:
        hint = f"Give {self.target.event} a field '{declared}' in events.yaml, {_AS_MAPPED}."
        return RadarError(f"{self.target.event} has nothing that says {missing}.", attribute.place, hint)


def _case_of(node: Node) -> str:
    """Return the case to which an expression converts texts, `lower` or `upper`; "" if it converts none."""
    match node:
        case Call(_, "lower" | "domain"):
            return "lower"
        case Call(_, "upper"):
            return "upper"
        case Else(_, left, right):
            case = _case_of(left)
            is_same = isinstance(right, Literal) and case and getattr(str(right.value), case)() == right.value
            return case if is_same or _case_of(right) == case else ""
        case _:
            return ""


def slug(name: str) -> str:
    """Return the field name for metadata: `::Customer Age::` is customer_age.

    >>> slug("::customer:Trusted::")
    'customer_trusted'
    """
    return re.sub(r"\W+", "_", name.strip(":").lower()).strip("_")
