"""The key `summaries` of shroff.yaml: content of the five-minute rows, and their tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import field

from shroff.errors import Problem, nearest
from shroff.json_types import TextMapping
from shroff.plugins.language import DAY_MS
from shroff.plugins.loader import AddedKey, FileContext, YamlMapping, YamlNode, load_shape
from shroff.plugins.settings import ADDRESS, DURATION, NAME, Key, Many, One, Required, choice, mapping_shape, own_names
from shroff.plugins.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.plugins.events import Events, EventType

COUNTED = frozenset(["text", "choice", "boolean", "integer"])  # kinds of fields with few values
INGEST_TIME = "ingest_time"
EVENT_TIME = "event_time"
EVERY_MS = 5 * 60_000
DELAY_MS = 10_000
TABLE = One("a table's name: small letters, digits and _", r"^[a-z_][a-z0-9_]{0,57}$")  # suffix `_text` must fit too
OWN_COLUMNS = tuple(
    (
        "window_start window_end revision created_at transaction_count amount_sum average_amount currency "
        "fraud_count confirmed_fraud_count"
    ).split()
)


class _Summaries:
    """Summaries in SQL tables.

    url: The database URL: sqlite:///FILE (relative to the project's folder), postgresql:// or mariadb://.
        Example: sqlite:///summaries.db
    event: The event type to summarize. By default, the only decided one.
        Example: payment
    amount: The money field to sum.
        Default: amount
        Example: total
    columns: Columns that count events by the values of a field. You choose their names.
        Example: { card_type: card_type, transaction_country: country }
    every: The length of a window; it must divide a day.
        Default: 5m
        Example: 15m
    by: The time that assigns an event to a window: ingest time or event time.
        Default: ingest_time
        Example: event_time
    delay: How long after its end `run` writes a window.
        Default: 10s
        Example: 1m
    fraud: Outcomes that count as fraud.
        Default: [review, decline]
        Example: [decline]
    table: The table of all events.
        Default: transaction_summaries
    fraud_table: The table of events decided as fraud.
        Default: fraud_summaries
    """

    url = Required(ADDRESS)
    event = NAME
    amount = NAME
    columns = own_names(
        "columns with a field of the event", NAME, reserved=OWN_COLUMNS, pattern=r"^[a-z_][a-z0-9_]{0,62}$"
    )
    every = DURATION
    by = choice(INGEST_TIME, EVENT_TIME)
    delay = DURATION
    fraud = Many("outcomes", choice("approve", "challenge", "review", "decline"))
    table = TABLE
    fraud_table = TABLE


_SHAPE = mapping_shape(_Summaries)


class SummarySettings(FrozenStruct):
    """The key `summaries`, with durations in milliseconds; `columns` has a field for each column."""

    url: str
    event: str = ""
    columns: TextMapping = field(default_factory=dict)
    amount: str = "amount"
    every_ms: int = EVERY_MS
    by: str = INGEST_TIME
    delay_ms: int = DELAY_MS
    fraud: tuple[str, ...] = ("review", "decline")
    table: str = "transaction_summaries"
    fraud_table: str = "fraud_summaries"


def load_summary_settings(
    node: YamlNode | None, context: FileContext, problems: list[Problem]
) -> SummarySettings | None:
    if not isinstance(node, YamlMapping):
        if node is not None:
            node.report(problems, f"summaries is {_SHAPE.what}.", "Write 'summaries: { url: ... }'.")
        return None
    settings = load_shape(node, _SHAPE, SummarySettings, problems, "summaries")
    if settings is None:
        return None
    decided = context.events.decided
    if not settings.event and len(decided) == 1:
        settings = replace(settings, event=decided[0])
    found_problems = [*_check(node, settings, context.events)]
    problems += found_problems
    return None if found_problems else settings


SUMMARIES_KEY = AddedKey(
    Key(
        "summaries",
        "Five-minute summaries that `shroff summaries` writes into SQL tables.",
        _SHAPE,
        examples=("{ url: sqlite:///summaries.db, columns: { country: country } }",),
    ),
    load_summary_settings,
)


def _check(node: YamlMapping, settings: SummarySettings, events: Events) -> Iterator[Problem]:
    if settings.every_ms < 1_000 or DAY_MS % settings.every_ms:
        yield _child_or_self(node, "every").problem("a window lasts a whole part of a day, from 1s to 1d, as 5m.")
    if settings.table == settings.fraud_table:
        yield _child_or_self(node, "fraud_table").problem("table and fraud_table are two tables: give them two names.")
    if (type_ := events.types.get(settings.event)) is not None:
        yield from _check_fields(node, settings, type_)
    elif settings.event:
        yield _child_or_self(node, "event").problem(
            f"{settings.event!r} is not an event type.", nearest(settings.event, events.types)
        )
    else:
        yield _child_or_self(node, "event").problem(
            "several event types are decided: name one.", "Write 'event: payment', say."
        )


def _check_fields(node: YamlMapping, settings: SummarySettings, type_: EventType) -> Iterator[Problem]:
    kinds = {field.name: field.type.kind for field in type_.fields}
    money = [name for name, kind in kinds.items() if kind == "money"]
    if kinds.get(settings.amount) != "money":
        hint = f"Name one of {', '.join(money)}." if money else "Declare one in events.yaml, as 'amount: money'."
        message = f"{type_.name} has no field {settings.amount!r} of type money."
        yield _child_or_self(node, "amount").problem(message, hint)
    columns = node.get("columns")
    for column, name in settings.columns.items():
        location = _child_or_self(columns, column) if isinstance(columns, YamlMapping) else node
        if name not in kinds:
            yield location.problem(f"{type_.name} has no field {name!r}.", nearest(name, kinds))
        elif kinds[name] not in COUNTED or name == type_.id_field:
            message = f"{name} has too many values to group by."
            yield location.problem(message, "Name a field of type text, choice, boolean or integer.")


def _child_or_self(node: YamlMapping, key: str) -> YamlNode:
    child = node.get(key)
    return node if child is None else child
