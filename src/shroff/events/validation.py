"""Validation: turn the fields of an input into a typed event or label, or name every mistake in them.

It checks an event alone: types, missing fields, sizes, bounds. `log.batch_classifier` finds known ids, late events and
events too far ahead of the clock (`too_early`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Any, cast

from shroff.errors import InputError, nearest, notes_of
from shroff.events.conversion import Conversion, ConvertedField, converted_fields, original_places
from shroff.events.definitions import Events, EventType, Field, Settings
from shroff.events.event import Event, time_text
from shroff.events.raw_values import Exact, RefusedValue, shown
from shroff.events.readers import ID_LENGTH_MAX, as_of_label, expectation, is_plain_day, reader
from shroff.events.unique import Named, unique_text
from shroff.language.expression import ORIGINAL_AMOUNT
from shroff.language.field_types import Bounds
from shroff.language.types import CODES, ORIGINAL_PLACES, TEXT, TIME, UNITS_MAX, Type, money
from shroff.language.values import DAY_MS, show, show_duration
from shroff.runtime.values import FrozenStruct, replace

DEFAULT_SOURCE = "import"
UNDECLARED_TOLD = 10  # undeclared names that a message shows
UNDECLARED_SHOWN_MAX = 100  # characters shown of each
_NOT_SHOWN = "the value is hidden because the field is hashed"
_PERSONAL = "the value is hidden because the field is personal"
_ORIGINAL_TOO_LARGE = (
    f", above the largest amount with rates, {UNITS_MAX // 10**ORIGINAL_PLACES:,} whole units. "
    "Convert it to a currency of larger units before you send it"
)
HIDDEN = "the value is hidden because a hashed field uses it"
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){7,}")  # such as a card number that was sent in place of a name
_MISSING = "it is missing"
_FORMATS = {"jsonl": "JSON", "parquet": "Parquet", "avro": "Avro"}
NEVER_SENT = "\0"  # no field of a line has this name


class LabelInput(FrozenStruct):
    """A label as it was sent.

    Args:
        event_type: Type of its event; None, which validation refuses, for a bare id that may be of several types.
        event_id: Id of its event; empty if only `unique` fields name the event (see `events.unique`).
        known_at_ms: When the verdict became known. For `is_undated` it is the time of sending, and for `is_day` the
            start of the day; `dated` corrects both by the time of the event.
        amount: Amount in smallest units.
    """

    event_type: str | None
    event_id: str
    verdict: str
    source: str
    known_at_ms: int
    reason: str | None = None
    amount: int | None = None
    unique: tuple[Named, ...] = ()
    is_undated: bool = False
    is_day: bool = False

    def dated(self, event_ms: int) -> LabelInput:
        """Return the label for an event of this time, before which a label without a time of day cannot be known."""
        if not self.is_undated and not (self.is_day and event_ms < self.known_at_ms + DAY_MS):
            return self
        return replace(self, known_at_ms=max(self.known_at_ms, event_ms), is_undated=False, is_day=False)


class OutOfBoundsError(InputError):
    """Values of an event, all of the right type, are outside the bounds of their fields; only new events must obey."""

    def __init__(self, mistakes: Sequence[tuple[str, str]], event: Event) -> None:
        super().__init__(mistakes)
        self.event = event


class _Step(FrozenStruct):
    name: str
    read: Callable[[Any], Any]
    expected: str
    is_optional: bool
    is_secret: bool  # hashed, personal, or naming an event with a hashed id
    is_personal: bool


Reads = tuple[tuple[str, Callable[[Any], Any], _Step], ...]


class _ReadPlan(FrozenStruct):
    type: str
    steps: tuple[_Step, ...]
    reads: Reads  # the steps again, as the loop takes them
    names: frozenset[str]
    id_at: int
    time_at: int
    personal: Reads = ()
    converted: tuple[ConvertedField, ...] = ()
    bounded: tuple[tuple[int, Bounds, Type], ...] = ()  # index and bounds of steps with bounds


class EventValidator:
    """Admits events and labels by the types that events.yaml declares.

    Args:
        hasher: Hashes the value of a hashed field. Without one values stay clear, as in rule tests, which store
            nothing.
        conversion: Converts amounts of files that are not ingested; the log converts the others.
    """

    def __init__(
        self,
        events: Events,
        settings: Settings,
        hasher: Callable[[str], str] | None = None,
        conversion: Conversion | None = None,
    ) -> None:
        self._events = events
        self._settings = settings
        self._conversion = conversion
        self.file_format = ""
        self._hasher = hasher
        self._currency = settings.currency
        self._plans = {name: self._plan(event_type) for name, event_type in events.types.items()}
        self._label_plan = self._plan(events.label_input, optional=frozenset({"source"}))
        self._naming = [
            (name, type_.name, unique_text(type_.fields[type_.at(name)].type)) for name, type_ in events.naming.items()
        ]

    def of_file(self, format: str) -> EventValidator:
        """Return a validator for lines of CSV or JSON, whose messages also say how to map such files."""
        made = copy(self)
        made.file_format = format
        return made

    def admit(
        self, type_name: str, fields: Mapping[str, object], *, is_strict: bool, hidden: frozenset[str] = frozenset()
    ) -> Event:
        """Return the typed event of these fields.

        A value may be a JSON value, one of a Parquet column, or a result of a mapping (see `events.raw_values`). Empty
        text and None are missing.

        Args:
            is_strict: Refuse undeclared fields (HTTP) instead of ignoring them (files).
            hidden: Fields, besides hashed ones, whose values no message shows.

        Raises: InputError with every mistake of the event; OutOfBoundsError if values are only outside their bounds.
        Cost: 2 to 4 microseconds for nine fields.
        """
        plan = self._plans.get(type_name)
        if plan is None:
            hint = nearest(type_name, self._plans) or f"Event types are {', '.join(self._plans)}."
            raise InputError([(type_name, f"is not an event type. {hint}")])
        values = self._values(plan, plan.reads, fields, hidden, is_strict=is_strict)
        event = Event(type_name, values[plan.id_at], values[plan.time_at], tuple(values))
        return event if self._conversion is None else self._conversion.event(event)

    def admit_with_personal(
        self, type_name: str, fields: Mapping[str, object], *, is_strict: bool, hidden: frozenset[str] = frozenset()
    ) -> tuple[Event, tuple[Named, ...]]:
        """Return the event as `admit` does, and its personal fields, which are not part of the event.

        Raises: as `admit`, also for a missing personal field.
        """
        plan = self._plans.get(type_name)
        if plan is None or not plan.personal:
            return self.admit(type_name, fields, is_strict=is_strict, hidden=hidden), ()
        values = self._values(plan, (*plan.reads, *plan.personal), fields, hidden, is_strict=is_strict)
        own = values[: len(plan.reads)]
        more = values[len(plan.reads) :]
        named = tuple((name, text) for (name, _, _), text in zip(plan.personal, more, strict=True) if text is not None)
        event = Event(type_name, own[plan.id_at], own[plan.time_at], tuple(own))
        return event if self._conversion is None else self._conversion.event(event), named

    def admit_label(
        self, fields: Mapping[str, object], *, is_strict: bool = False, hidden: frozenset[str] = frozenset()
    ) -> LabelInput:
        """Return the label of these fields; its source is `import` by default.

        Raises: InputError with every mistake; also where `event` names no event type and
            no single decided type stands for it, and where it and unique fields name events of several types.
        """
        plan = self._label_plan
        event, verdict, source, known_at_ms, reason, amount, *more = self._values(
            plan, plan.reads, fields, hidden, is_strict=is_strict
        )
        known = (verdict, source or DEFAULT_SOURCE, known_at_ms, reason, amount)
        is_day = is_plain_day(fields.get("known_at"))
        named = [name for name, value in zip(self._naming, more, strict=True) if value is not None]
        if not named:
            type_name, event_id = self.named_event(event)
            return LabelInput(type_name, event_id, *known, is_day=is_day)
        unique = [
            (name, text(value)) for (name, _, text), value in zip(self._naming, more, strict=True) if value is not None
        ]
        (first, type_name, _) = named[0]
        event_id = ""
        types = {name: of for name, of, _ in named}
        if event is not None:
            types["event"], event_id = self.named_event(event)
        other = next((name for name, of in types.items() if of != type_name), "")
        if other:
            words = f"it names one of the type {types[other]}, and {first} one of the type {type_name}"
            raise InputError([(other, words)])
        return LabelInput(type_name, event_id, *known, tuple(unique), is_day=is_day)

    def hashed(self, type_name: str, name: str, value: object) -> str | None:
        """Hash of a hashed field's clear value, or of the value that a label names; None where it is missing.

        Raises: ValueError or InputError where validation refuses the value.
        """
        plan = self._label_plan if type_name == self._events.label.name else self._plans[type_name]
        if value is None or value == "":
            return None
        read = next(step.read for step in plan.steps if step.name == name)
        is_event = plan is self._label_plan and name == "event"
        return "/".join(self.named_event(read(value))) if is_event else read(value)

    def _values(
        self, plan: _ReadPlan, reads: Reads, fields: Mapping[str, object], hidden: frozenset[str], *, is_strict: bool
    ) -> list[Any]:
        values: list[Any] = []
        mistakes: list[tuple[str, str]] = []
        if plan.converted and not is_strict:  # an event that was exported has amounts as they were sent beside others
            names = [plan.steps[at.original].name for at in plan.converted]
            sent = {name: fields[beside] for name in names if (beside := f"{name}.{ORIGINAL_AMOUNT}") in fields}
            fields = {**fields, **sent}
        find = fields.get
        for name, read, step in reads:
            value = find(name)
            if value is None or value == "":
                if not step.is_optional:
                    mistakes.append((name, f"expected {step.expected}; {_MISSING}"))
                values.append(None)
                continue
            try:
                values.append(read(value))
            except (ValueError, OverflowError) as error:
                values.append(None)
                mistakes.append((name, _words(step, value, error, hidden, self.file_format)))
        for at in plan.converted:
            mistakes += self._read_original(plan, values, at, hidden)
        if is_strict and not plan.names.issuperset(fields):
            unknown = [name for name in fields if name not in plan.names]
            known = [name for name, *_ in (*plan.reads, *plan.personal) if name != NEVER_SENT]
            mistakes += undeclared(unknown, known, "the event type declares no such field", "Fields are")
        beyond = _beyond(plan, values, hidden) if plan.bounded else []
        if mistakes:
            raise InputError([*mistakes, *beyond])
        if beyond:
            own = values[: len(plan.reads)]
            raise OutOfBoundsError(beyond, Event(plan.type, own[plan.id_at], own[plan.time_at], tuple(own)))
        return values

    def _read_original(
        self, plan: _ReadPlan, values: list[Any], at: ConvertedField, hidden: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        value = values[at.original]
        step = plan.steps[at.original]
        code = values[at.currency]
        code_step = plan.steps[at.currency]
        values[at.original] = None
        if value is None or (code is None and not code_step.is_optional):
            return
        places = None if code is None else original_places(code, self._settings)
        if places is None:
            found = _MISSING if code is None else f"found {shown(code)}. {nearest(code[:100], CODES)}".rstrip(". ")
            yield code_step.name, f"expected a currency of ISO 4217, such as EUR; {found}"
            return
        type_ = money(places)
        unit = 10 ** (ORIGINAL_PLACES - places)
        try:
            values[at.original] = _fitting(_original_reader(type_, code)(value) * unit, value)
        except (ValueError, OverflowError) as error:
            yield (
                step.name,
                _words(replace(step, expected=expectation(type_, code)), value, error, hidden, self.file_format),
            )

    def _plan(self, event_type: EventType, optional: frozenset[str] = frozenset()) -> _ReadPlan:
        steps = tuple(self._step(field, event_type, optional) for field in event_type.fields)
        id_at = event_type.at(event_type.id_field)
        time_at = event_type.at(event_type.time_field)
        reads = tuple(
            (field.sent or NEVER_SENT, step.read, step) for field, step in zip(event_type.fields, steps, strict=True)
        )
        beside = tuple(self._step(field, event_type, optional) for field in event_type.personal)
        personal = tuple((step.name, step.read, step) for step in beside)
        names = frozenset(field.name for field in event_type.declared)
        fields = enumerate(event_type.fields)
        bounded = tuple((at, field.shape.bounds, field.type) for at, field in fields if field.shape.bounds is not None)
        own = event_type.name, steps, reads, names, id_at, time_at, personal
        return _ReadPlan(*own, converted_fields(event_type), bounded)

    def _step(self, field: Field, event_type: EventType, optional: frozenset[str]) -> _Step:
        is_label = event_type.name == self._events.label.name
        is_id = field.name == event_type.id_field and not is_label
        read = reader(field.type, currency=self._currency, is_id=is_id)
        is_original = field.sent != field.name
        if is_original:  # an amount whose currency is read later (`_read_original`), or its converted amount
            read = _as_it_is
        read = as_of_label(read, field.name) if is_label else read
        if field.shape.is_hashed and self._hasher is not None:
            read = _hashing(cast("Callable[[Any], str]", read), self._hasher)
        is_optional = field.shape.is_optional or field.name in optional or not field.sent
        expected = "an amount" if is_original else expectation(field.type, self._currency, is_id=is_id)
        if is_label and field.type == TIME:
            expected = expected.replace(", or", ", a day such as 2026-03-01, or")
        expected = expected if field.shape.bounds is None else f"{expected}, {field.shape.bounds}"
        is_secret = field.shape.is_personal or field.name in secret_fields(self._events, event_type.name)
        return _Step(field.sent or field.name, read, expected, is_optional, is_secret, field.shape.is_personal)

    def named_event(self, event: str | None) -> tuple[str, str]:
        """Return type and id of the event that a label names: `payment/p-1`, or a bare id, which may contain a slash.

        Raises: InputError, also for a text before a slash that resembles an event type: such a label would wait for its
            event for ever.
        """
        if event is None:
            or_else = ", or one of " + ", ".join(name for name, _, _ in self._naming) + " instead"
            raise InputError([("event", f"expected {self._label_plan.steps[0].expected}{or_else}; {_MISSING}")])
        before, slash, after = event.partition("/")
        if slash and before in self._events.types:
            type_name = before
            event_id = after
        elif len(self._events.decided) == 1:
            if slash and (hint := nearest(before, self._events.types)):
                raise InputError([("event", f"{before!r} is not an event type. {hint}")])
            type_name = self._events.decided[0]
            event_id = event
        else:
            raise InputError([("event", self._unknown_event(event, before if slash else ""))])
        event_type = self._events.types[type_name]
        id_field = event_type.fields[event_type.at(event_type.id_field)]
        if not 0 < len(event_id) <= ID_LENGTH_MAX:
            raise InputError([("event", f"expected an id of 1 to {ID_LENGTH_MAX} characters; found {len(event_id)}")])
        if id_field.shape.is_hashed and self._hasher is not None:
            event_id = self._hasher(event_id)
        return type_name, event_id

    def _unknown_event(self, event: str, before: str) -> str:
        decided = self._events.decided
        form = f"expected TYPE/ID, such as {decided[0] if decided else 'payment'}/p-1"
        why = f"since {len(decided)} event types are decided" if decided else "since no event type is decided"
        hint = nearest(before, self._events.types) if before else ""
        found = _NOT_SHOWN if secret_fields(self._events, self._events.label.name) else f"found {shown(event)}"
        return f"{form}, {why}; {found}. {hint}".rstrip()


def label_refusal(label: LabelInput, settings: Settings) -> str:
    """Return why validation would refuse a label that did not pass it, such as one from the inbox; "" if it would
    not.
    """
    amount = None if label.amount is None else Exact(label.amount, settings.money_places)
    given: tuple[tuple[str, Type, object], ...] = (
        ("event", TEXT, label.event_id or None),
        ("known_at", TIME, label.known_at_ms),
        ("reason", TEXT, label.reason),
        ("amount", money(settings.money_places), amount),
    )
    mistakes = []
    for name, type_, value in given:
        is_id = name == "event"
        expected = f"expected {expectation(type_, settings.currency, is_id=is_id)}"
        try:
            if value is not None:
                reader(type_, currency=settings.currency, is_id=is_id)(value)
            elif is_id and not label.unique:
                mistakes.append((name, f"{expected}; {_MISSING}"))
        except ValueError as error:
            mistakes.append((name, f"{expected}; {error}"))
    return str(InputError(mistakes)) if mistakes else ""


def secret_fields(events: Events, type_name: str) -> frozenset[str]:
    """Return the fields whose clear values are never stored: hashed ones, and the event of a label if ids are
    hashed.
    """
    if type_name != events.label.name:
        return frozenset(field.name for field in events.types[type_name].fields if field.shape.is_hashed)
    has_hashed_id = any(type_.fields[type_.at(type_.id_field)].shape.is_hashed for type_ in events.types.values())
    hashed = {field.name for field in events.label_input.fields if field.shape.is_hashed}
    return frozenset({"event", *hashed} if has_hashed_id else hashed)


def undeclared(names: Sequence[str], known: Sequence[str], words: str, there_are: str) -> list[tuple[str, str]]:
    """Return a mistake for each undeclared name, with the most similar declared one.

    Only the first `UNDECLARED_TOLD` names are shown, shortened, so that a message is no copy of the input.
    """
    all_declared = f"{there_are} {', '.join(known)}."
    shorts = [_LONG_NUMBER.sub("…", name[:UNDECLARED_SHOWN_MAX]) for name in names[:UNDECLARED_TOLD]]
    mistakes = [(short, f"{words}. {nearest(short, known) or all_declared}") for short in shorts]
    if len(names) > UNDECLARED_TOLD:
        mistakes.append(("", f"{len(names) - UNDECLARED_TOLD:,} more names that nothing declares"))
    return mistakes


@lru_cache(maxsize=256)  # currencies; making a reader takes as long as reading an amount
def _original_reader(type_: Type, currency: str) -> Callable[[Any], Any]:
    return reader(type_, currency=currency, may_have_more=False)


def _fitting(units: int, value: object) -> int:
    if abs(units) > UNITS_MAX:
        raise ValueError(f"found {shown(value)}{_ORIGINAL_TOO_LARGE}")
    return units


def _as_it_is(value: object) -> object:
    return value


def _hashing(read: Callable[[Any], str], hasher: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda value: hasher(read(value))


def _beyond(plan: _ReadPlan, values: Sequence[Any], hidden: frozenset[str]) -> list[tuple[str, str]]:
    found = []
    for at, bounds, type_ in plan.bounded:
        value = values[at]
        step = plan.steps[at]
        if value is not None and not bounds.least <= value <= bounds.most:
            error = ValueError(f"found {show(value, type_, type_.places)}")
            found.append((step.name, _words(step, value, error, hidden)))
    return found


def _words(step: _Step, value: object, error: Exception, hidden: frozenset[str], format: str = "") -> str:
    note = notes_of(error) if format == "csv" else ""
    if format in _FORMATS:
        name = _FORMATS[format]
        note = notes_of(error).replace("a CSV", name).replace("from.csv", f"from.{name.lower()}")
    message = f"{error}{note}"
    if isinstance(value, RefusedValue):  # the message of the mapping's expression says which forms of a time it reads
        return f"expected {step.expected.partition(' with its offset')[0]}; {message}"
    if step.is_secret:
        return f"expected {step.expected}; {_PERSONAL if step.is_personal else _NOT_SHOWN}"
    if step.name in hidden:
        return f"expected {step.expected}; {HIDDEN}"
    return f"expected {step.expected}; {message}"


def latest_ms(settings: Settings, now_ms: int) -> int:
    """Return the latest allowed time of an event that arrives now."""
    return now_ms + settings.ahead_ms


def too_early(time_ms: int, time_field: str, settings: Settings, now_ms: int) -> str:
    """Return a refusal if the time of an event that arrives now is too far ahead of the clock, else ""."""
    if time_ms <= latest_ms(settings, now_ms):
        return ""
    over_ms = time_ms - now_ms
    allowed = show_duration(settings.ahead_ms)
    ahead = show_duration(over_ms - over_ms % (DAY_MS if over_ms > 30 * DAY_MS else 1_000))
    return (
        f"{time_field}: too early: {time_text(time_ms)} is {ahead} after its arrival, and ahead in shroff.yaml "
        f"allows {allowed}. Correct the time; for synthetic data of the future, write 'ahead: off'"
    )
