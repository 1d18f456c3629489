"""The keys of events.yaml, each with what it means (see `language.keys`)."""

from __future__ import annotations

from shroff.language.field_types import BOUNDED
from shroff.language.keys import (
    EXPRESSION,
    NAME,
    NAME_PATTERN,
    NUMBER,
    SWITCH,
    TEXT,
    TRUTH,
    WHOLE,
    Either,
    Key,
    Many,
    One,
    Required,
    choice,
    mapping_shape,
    own_names,
)
from shroff.language.names import TABLE_KINDS
from shroff.runtime.values import replace

RESERVED = tuple(
    (
        "this row lists tables score label control entities missing true false and or not in is else when where "
        "of over last delayed including matching since"
    ).split()
)

SUMMARY = "summary"  # the one key of an event type that is in no version

_WITHIN = r"(within\s+[0-9][0-9a-z]*\s*)?"
_UNIQUE = rf"(unique\b\s*{_WITHIN})?"
_MARKS = rf"\s*\??\s*(personal\b\s*|((hashed|unique)\b\s*)*{_WITHIN})"
_BOUNDED = "|".join(rf"{name}\b" for name in BOUNDED)
_BOUND = r"[<>]=?\s*\S+"
FIELD_TYPE = One(
    "a type, with ? where it may be missing",
    rf"^\s*(text\b{_MARKS}|money\s*\??\s+in\s+[A-Za-z_]\w*\s*({_BOUND}(\s+and\s+{_BOUND})?\s*)?"
    rf"|(boolean\b|choice\s*\([\s\S]*\S[\s\S]*\))\s*\??\s*{_UNIQUE}"
    rf"|({_BOUNDED}|number\s*\(\s*(\d|0\d|1[0-2])\s*\))\s*\??\s*{_UNIQUE}({_BOUND}(\s+and\s+{_BOUND})?\s*)?)$",
)
FIELD_EXAMPLES = tuple(
    (
        "text|text?|text hashed|time|money|money?|integer|number(2)|real|boolean|duration|choice(pos, web, atm)|"
        "choice(pos, web, ...)|text? unique|text? unique within 7d|text? personal|money in currency|"
        "money? in currency > 0|money > 0|money? >= 0|integer >= 0 and < 100|time >= 2020-01-01"
    ).split("|")
)
FIELDS = own_names("fields with their types", FIELD_TYPE)
ZONE = Key(
    "zone",
    "The time zone of times without an offset, such as `2026-03-01 10:00:00`. A field of this name is mapped instead.",
    One("a time zone such as Europe/Berlin"),
    default="UTC",
    examples=("Europe/Berlin",),
)
ARRIVED = Key(
    "arrived",
    "When the event of a line of a file came, for corrections and back-filled files: a time, or a column that holds "
    "one. Lines of files are then taken in order of arrival, and features see an event only from its arrival on. A "
    "field of this name is mapped instead.",
    EXPRESSION,
    examples=("row.loaded_at",),
)

DESCENDING = "descending"


class _RowExpressions:
    """Expressions over `row`, one a field.

    when: A line has this type if the condition is true; the first type with a true `when` gets it.
        Example: row.eventType == 'SAVING'
    order: Whether the oldest or the newest line of a file stands first. With `descending` a file is read from its last
        line to its first, so that lines of the same time keep their order. A field of this name is mapped instead.
        Default: ascending
        Example: descending
    """

    zone = ZONE
    arrived = ARRIVED
    order = choice("ascending", DESCENDING)
    when = EXPRESSION


MAPPING = replace(mapping_shape(_RowExpressions), named=EXPRESSION, pattern=NAME_PATTERN)
SEPARATORS = {",": ",", ";": ";", "tab": "\t", "|": "|"}  # as they are written, and what stands in the file
NAME_OF_COLUMN = One("a name of a column", kinds=(TEXT, NUMBER, TRUTH))
SETTINGS = {"order": ("ascending", DESCENDING), "decimal": (".", ","), "separator": tuple(SEPARATORS)}
DECIMAL = choice(*SETTINGS["decimal"])


class _JsonLines:
    """JSON lines.

    each: An array of the message, each item of which is an event: `item` is the item, `row` the whole message. A
        field without an expression is taken from the item, or from the message if the item lacks it. A message
        without items gives no event and is counted. A field of this name is mapped instead.
        Example: row.notificationItems
    decimal: What stands before the places of decimals that are texts, as in CSV. A field of this name is mapped
        instead.
        Example: ','
    """

    mapping = MAPPING.keys
    each = EXPRESSION
    decimal = DECIMAL


JSON_MAPPING = replace(MAPPING, keys=mapping_shape(_JsonLines).keys)


class _Records:
    """Parquet or Avro.

    decimal: What stands before the places of decimals that are texts, as in CSV. A field of this name is mapped
        instead.
        Example: ','
    """

    mapping = MAPPING.keys
    decimal = DECIMAL


RECORD_MAPPING = replace(MAPPING, keys=mapping_shape(_Records).keys)


class _Csv:
    r"""CSV.

    decimal: What stands before the places of a decimal, as people write it. Columns of numbers and money and the
        functions `money`, `number` and `integer` then also read groups of thousands, `(1.00)` and `1.00-` as
        negative, and drop a currency sign: `'.'` reads `$1,234.50`, `','` reads `1.250,00 €`, not `12.50`. Left
        out, only plain decimals such as `1234.50` are read. A field of this name is mapped instead.
        Example: '.'
        Example: ','
    separator: What must stand between the columns; a file with another separator is refused before its first line.
        Left out, the header decides. A field of this name is mapped instead.
        Example: ';'
        Example: tab
    columns: The names of the columns, for a file without a header line. A field of this name is mapped instead,
        unless this is a list.
        Example: [card, at, amount]
    skip: How many lines stand before the header, or before the data with `columns`. A line `sep=;` of Excel is
        understood without it. A field of this name is mapped instead.
        Default: 0
        Example: 3
    missing: Words that mean missing: whole cells, compared without the blanks around them. The empty text always
        does. A field of this name is mapped instead, unless this is a list.
        Default: ['']
        Example: ['', 'NULL', '\N', 'NaN', '-']
    """

    mapping = MAPPING.keys
    decimal = DECIMAL
    separator = choice(*SETTINGS["separator"])
    columns = Many("names of columns", NAME_OF_COLUMN)
    skip = WHOLE
    missing = Many("words", One("a word", may_be_empty=True, kinds=(TEXT, NUMBER, TRUTH)))


CSV_MAPPING = replace(MAPPING, keys=mapping_shape(_Csv).keys)


class _FileFormats:
    """File formats with their mappings.

    zone: The time zone of times without an offset, such as `2026-03-01 10:00:00`, of all formats that do not say
        another.
        Default: UTC
        Example: Europe/Berlin
    arrived: When the event of a line of a file came, in all formats that do not say it themselves.
        Example: row.loaded_at
    csv: Maps a line of CSV to the fields. A field without an expression takes the column of its name.
        Example: { amount: money(row.Amount) }
    json: Maps a line of JSON lines to the fields. A field without an expression takes the column of its name.
        Example: { card: row.card.id }
    parquet: Maps a line of Parquet to the fields. A field without an expression takes the column of its name.
        Example: { card: row.card_id }
    avro: Maps a line of Avro to the fields. A field without an expression takes the column of its name.
        Example: { card: row.card_id }
    """

    zone = ZONE.shape
    arrived = EXPRESSION
    csv = CSV_MAPPING
    json = JSON_MAPPING
    parquet = RECORD_MAPPING
    avro = RECORD_MAPPING


FROM = mapping_shape(_FileFormats)


class _EventType:
    """An event type.

    id: The field with the event's id, a required text. The same id with the same content is the same event; with other
        content it is refused.
        Example: payment_id
    time: The field with the event time, a required time.
        Example: paid_at
    decide: Whether events of this type get a decision.
        Default: false
        Example: true
    fields: The fields with their types. `?` after the type: may be missing. `hashed`: replaced on input by a keyed hash
        and its last four characters; rules compare it with hashed fields and lists only. `unique`: may identify the
        event in a label file. `unique within 7d`: an event with the same value as another within 7 days is a duplicate
        of it. `money in currency`: of the currency that this field says, converted by the rates of `money` in
        shroff.yaml. `personal`: stored beside the log until `shroff erase` removes it; rules and models cannot read it,
        and a repeated event keeps the first values. Limits come last: `> 0`, `>= 0 and < 100`. New events with a value
        outside the limits are refused; those in the log stay.
        Example: { payment_id: text, paid_at: time, card: text hashed, amount: money > 0 }
    from: Mappings of file lines to events of this type, by file format.
    summary: The fields that describe an event to people, in order of showing: in the queue, in cases and wherever else
        screens list events. Its first money field is the amount, on screens and in all figures. It changes no decision
        and is in no version; a running service reads a change when it restarts. Personal fields are not allowed.
        Default: the first money field, then fields whose names contain merchant, country, city, channel or device; five
        at most
        Example: [amount, merchant, country, channel, device]
    """

    id = Required(NAME)
    time = Required(NAME)
    decide = SWITCH
    fields = Required(FIELDS)
    from_ = FROM
    summary = Many("fields", NAME)


EVENT_TYPE = mapping_shape(_EventType)


class _LabelType:
    """The built-in type of labels.

    from: Mappings of file lines to labels, by file format.
    disputes: Mappings of the lines that `shroff disputes import` reads, by file format: to event, stage, known_at, due,
        network, code, dispute, reason, amount and verdict. Stages count from `known_at` on; `arrived` is not used.
        Example: { csv: { event: "row['Charge ID']", stage: lower(row.Status), known_at: row.Created } }
    """

    from_ = FROM
    disputes = FROM


LABEL = mapping_shape(_LabelType)
ENTITY_KEY = Either((EXPRESSION, Many("several of them", EXPRESSION)))
ENTITIES = own_names(
    "who features are about",
    own_names("event types with the key of this entity in each: a field, an expression, or a list of them", ENTITY_KEY),
    reserved=RESERVED,
)
MMDB_COLUMN = One(
    "a type and the path of the column in a MaxMind database", r"^[a-z].*\sfrom\s+[A-Za-z_][\w.\[\]]*\s*$"
)


class _Columns:
    """Columns with their types, the first column the key.

    from: The column that says from which time on a row is valid.
        Example: valid_from
    """

    from_ = NAME


COLUMNS = replace(
    mapping_shape(_Columns), named=Either((FIELD_TYPE, choice(*TABLE_KINDS), MMDB_COLUMN)), pattern=NAME_PATTERN
)
TABLES = own_names("look-up tables", COLUMNS)


class _EventTypes:
    """Event types by their names, and these keys.

    label: Labels: the outcome of events that became known later. The type is built in; set only its file mappings
        here.
    entities: Entities, which features are about, with their key fields. An event whose key is missing belongs to no
        entity.
        Example: { card: { payment: card }, device_card: { payment: [device, card] } }
    tables: Look-up tables, each a file tables/NAME.csv, .csv.gz, .parquet or .mmdb. The type of the first column
        says how a key is looked up: `text`, `integer` or `choice(...)` by equal values; `prefix` by the longest row
        that a text begins with; `suffix` by the longest that ends it at a dot; `network` by the longest that holds
        an address; two first columns of `prefix` or of `network` are the ends of a range. With `from: valid_from`
        behind the key, a row is valid from the time in this column on, until
        the next row of its key. In a MaxMind database a column is what its path leads to: `text from
        country.iso_code`.
        Example: { bins: { bin: prefix, country: text }, ip: { network: network, country: text } }
        Example: { ip: { low: network, high: network, country: text } }
        Example: { fx: { currency: text, from: valid_from, rate: number(12) } }
    """

    label = LABEL
    entities = ENTITIES
    tables = TABLES


EVENTS = replace(mapping_shape(_EventTypes), named=EVENT_TYPE, pattern=NAME_PATTERN, reserved=RESERVED)
