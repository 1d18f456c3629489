"""Compatibility of an event type with a writer's Avro schema, and the fields that are lost."""

from __future__ import annotations

from collections.abc import Iterator

from shroff.events.avro.schema import DURATION_MS, Avro, as_tree, avro_type, schema_name_of, schema_of, schema_text
from shroff.events.avro.values import alike
from shroff.events.definitions import EventType, Field, Settings
from shroff.events.mapping import LABEL, Mapper
from shroff.language.expression import Path
from shroff.language.types import UNITS_MAX
from shroff.language.values import show_decimal
from shroff.runtime.values import FrozenStruct, replace

SCHEMAS_SHOWN_MAX = 1_500  # characters of each schema in a message
_TIMES = frozenset(f"{before}timestamp-{unit}" for before in ("", "local-") for unit in ("millis", "micros", "nanos"))
_DIGITS = frozenset("int long float double decimal string".split())
_SCALARS = frozenset(
    [*_DIGITS, *_TIMES, "boolean", "enum", "bytes", "fixed", "date", "time-millis", "time-micros", DURATION_MS]
)
_TAKEN = {  # what validation reads a field from, by the name of the logical type or else of the kind
    "text": _SCALARS,
    "choice": _SCALARS,
    "integer": _DIGITS,
    "number": _DIGITS,
    "money": _DIGITS | {"record", "map"},
    "real": _DIGITS,
    "boolean": frozenset(["boolean", "string", "enum"]),
    "time": _TIMES | {"int", "long", "string"},
    "duration": frozenset(["string", "float", "double", "decimal", DURATION_MS]),
}
_FLOAT_BITS = {"float": 24, "double": 53}


class Misfit(FrozenStruct):
    """A field that cannot be read: its form in both schemas, and the fix."""

    field: str
    theirs: str
    ours: str
    words: str


class Fit(FrozenStruct):
    """Compatibility of an event type with a schema. Without misfits it can be read; remarks say what is lost."""

    misfits: tuple[Misfit, ...]
    remarks: tuple[str, ...]

    @property
    def is_readable(self) -> bool:
        return not self.misfits


def fit(schema: Avro, event_type: EventType, settings: Settings) -> Fit:
    """Compare each field of a type with a schema, by the type's mapping from Avro.

    No mapping is used for a schema with the name of the type's own schema, since its fields have the type's names.
    """
    if schema.name == schema_name_of(event_type.name, settings):
        event_type = replace(event_type, mappings={})
    mapper = Mapper(event_type, "avro")
    lacking = frozenset(mapper.missing_columns(schema.names))
    misfits: list[Misfit] = []
    remarks: list[str] = []
    for field in event_type.declared:
        misfit = _misfit(field, mapper, schema, lacking)
        if misfit is not None:
            misfits.append(misfit)
            continue
        remarks += _remarks(field, mapper, schema)
    if event_type.name == LABEL and "event" in lacking and not any(misfit.field == "event" for misfit in misfits):
        misfits.append(Misfit("event", "nothing", "string", "nothing in it names the event of a label"))
    return Fit(tuple(misfits), tuple(remarks))


def refusal(found: Fit, theirs: str, event_type: EventType, settings: Settings) -> str:
    told = "; ".join(f"{misfit.field}: {misfit.words}" for misfit in found.misfits)
    ours = schema_text(schema_of(event_type, settings))
    return f"{event_type.name} cannot be read by it: {told}. Theirs: {_cut(theirs)} Ours: {_cut(ours)}"


def exact_below(kind: str, places: int) -> str:
    """Return the amount up to which floats of this width distinguish all multiples of the smallest unit.

    Floats below 2^k are at most 2^(k - digits) apart. This takes the largest k at which that is at most one unit.

    >>> exact_below("float", 2), exact_below("double", 2)
    ('131,072.00', '70,368,744,177,664.00')
    """
    power = _FLOAT_BITS[kind]
    while 10**places * 2**power > 2 ** _FLOAT_BITS[kind]:
        power -= 1
    units = 10**places * 2**power
    whole, point, rest = show_decimal(units, places).partition(".")
    return f"{int(whole):,}{point}{rest}"


def found_at(schema: Avro, path: Path) -> Avro | None:
    """Return the type at a path of a record; None if there is none, or it is unknown (maps, texts)."""
    found = schema
    for key in path:
        if isinstance(key, int):
            inner = [value.parts[0] for value in found.values if value.kind == "array"]
        else:
            inner = [value.fields[key] for value in found.values if value.kind == "record" and key in value.fields]
        if not inner:
            return None
        found = inner[0]
    return found


def _misfit(field: Field, mapper: Mapper, schema: Avro, lacking: frozenset[str]) -> Misfit | None:
    # Expected form of a field, in words
    text = str(as_tree(avro_type(field.type)))
    ours = text if text == field.type.kind else f"{text} ({field.type.kind})"
    if not field.shape.is_optional and (
        needed := sorted({str(path[0]) for path in mapper.paths(field.name)} & lacking)
    ):
        words = f"must be there, and they have no {', '.join(needed)}"
        if mapper.is_column(field.name):
            words += "; send it, map another one under from.avro, or let it be missing with a question mark"
        return Misfit(field.name, "nothing", ours, words)
    if not mapper.is_column(field.name):
        return None
    (path,) = mapper.paths(field.name)
    found = found_at(schema, path)
    return None if found is None else _unlike(field, found, ours)


def _unlike(field: Field, found: Avro, ours: str) -> Misfit | None:
    both = alike(found)
    if both is not None:
        words = f"is {both[0]} or {both[1]} there, which their bytes do not tell apart; send one of them"
        return Misfit(field.name, str(found), ours, words)
    refused = [value for value in found.values if (value.logical or value.kind) not in _TAKEN[field.type.kind]]
    if not refused and (found.values or field.shape.is_optional):
        return None
    words = f"is {found} there and {ours} here"
    if field.type.kind == "duration" and refused and refused[0].kind in {"int", "long"}:
        words += (
            f"; whether it counts seconds or milliseconds nothing says. Send a long of logicalType {DURATION_MS!r}, "
            f"or map it under from.avro, such as integer(row.{field.name}) * 1ms"
        )
    return Misfit(field.name, str(found), ours, words)


def _remarks(field: Field, mapper: Mapper, schema: Avro) -> Iterator[str]:
    for path in sorted(mapper.paths(field.name), key=str):
        found = found_at(schema, path)
        name = ".".join(map(str, path))
        if found is None:
            continue
        if mapper.is_column(field.name) and found.may_be_null and not field.shape.is_optional:
            yield f"{field.name}: may be null there and must be there here; messages without it are refused"
        if field.type.kind == "choice" and not field.type.is_open:
            others = [
                symbol for branch in found.values for symbol in branch.symbols if symbol not in field.type.choices
            ]
            if others:
                yield f"{field.name}: messages with {', '.join(others)} are refused, which are no choices here"
        if field.type.kind != "money":
            continue
        for kind in sorted({value.kind for value in found.values} & set(_FLOAT_BITS)):
            said = "" if name == field.name else f"{name} is "
            yield f"{field.name}: {said}{_lost(kind, field.type.places)}"


def _lost(kind: str, places: int) -> str:
    limit = exact_below(kind, places)
    width = "32" if kind == "float" else "64"
    lost = "the cents" if places == 2 else "the smallest units"
    end = f"above it the sender has already lost {lost}; have it send a decimal"
    if int(limit.replace(",", "").replace(".", "")) > UNITS_MAX:
        end = f"above it, where no amount is taken anyway, the sender has already lost {lost}"
    return f"a float of {width} bits, exact below {limit}; {end}"


def _cut(text: str) -> str:
    return text if len(text) <= SCHEMAS_SHOWN_MAX else f"{text[:SCHEMAS_SHOWN_MAX]}…"
