"""The key `summaries` of shroff.yaml: the contents of five-minute rows, and their tables.

None of it decides anything: like what says where things are, it is in no version, control event or receipt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import field

from shroff.errors import nearest
from shroff.json_types import TextMapping
from shroff.language.keys import DURATION, NAME, Many, One, Required, choice, mapping_shape, own_names
from shroff.language.shapes import load_shape
from shroff.language.values import DAY_MS
from shroff.language.yaml import text as yamltext
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.settings import ADDRESS

if TYPE_CHECKING:
    from shroff.errors import Problem
    from shroff.events.definitions import Events, EventType

NAME_OF = "summaries"
COUNTED = frozenset(["text", "choice", "boolean", "integer"])  # kinds of fields with few values
INGEST_TIME, EVENT_TIME = "ingest_time", "event_time"
EVERY_MS, DELAY_MS = 5 * 60_000, 10_000
TABLE = One("a table's name: small letters, digits and _", r"^[a-z_][a-z0-9_]{0,57}$")  # `_text` fits behind it
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


SUMMARIES = mapping_shape(_Summaries)


class SummarySettings(FrozenStruct):
    """The key `summaries`; durations in milliseconds. `columns` names fields by columns."""

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
    top: yamltext.Node | None, problems: list[Problem], events: Events | None
) -> SummarySettings | None:
    """Read the key `summaries` of shroff.yaml; None where it is not there, or has mistakes.

    Args:
        events: What it names must be among them; None where they have mistakes themselves.
    """
    node = top.get(NAME_OF) if isinstance(top, yamltext.Mapping) else None
    if not isinstance(node, yamltext.Mapping):
        if node is not None:
            node.report(problems, f"{NAME_OF} is {SUMMARIES.what}.", "Write 'summaries: { url: ... }'.")
        return None
    before = len(problems)
    settings = load_shape(node, SUMMARIES, SummarySettings, problems, NAME_OF)
    if settings is None:
        return None
    decided = events.decided if events else ()
    if not settings.event and len(decided) == 1:
        settings = replace(settings, event=decided[0])
    problems += _mistakes(node, settings, events)
    return settings if len(problems) == before else None


def _mistakes(node: yamltext.Mapping, found: SummarySettings, events: Events | None) -> list[Problem]:
    problems: list[Problem] = []
    if found.every_ms < 1_000 or DAY_MS % found.every_ms:
        problems.append(_at(node, "every").problem("a window lasts a whole part of a day, from 1s to 1d, as 5m."))
    if found.table == found.fraud_table:
        problems.append(_at(node, "fraud_table").problem("table and fraud_table are two tables: give them two names."))
    if events is None:
        return problems
    type_ = events.types.get(found.event)
    if type_ is None:
        hint = nearest(found.event, events.types) if found.event else "Write 'event: payment', say."
        words = (
            f"{found.event!r} is not an event type." if found.event else ("several event types are decided: name one.")
        )
        return [*problems, _at(node, "event").problem(f"{words}", hint)]
    return [*problems, *_mistakes_of_fields(node, found, type_)]


def _mistakes_of_fields(node: yamltext.Mapping, found: SummarySettings, type_: EventType) -> list[Problem]:
    problems: list[Problem] = []
    kinds = {field.name: field.type.kind for field in type_.fields}
    money = [name for name, kind in kinds.items() if kind == "money"]
    if kinds.get(found.amount) != "money":
        hint = f"Name one of {', '.join(money)}." if money else "Declare one in events.yaml, as 'amount: money'."
        words = f"{type_.name} has no field {found.amount!r} of type money."
        problems.append(_at(node, "amount").problem(words, hint))
    columns = node.get("columns")
    for column, name in found.columns.items():
        place = _at(columns, column) if isinstance(columns, yamltext.Mapping) else node
        if name not in kinds:
            place.report(problems, f"{type_.name} has no field {name!r}.", nearest(name, kinds))
        elif kinds[name] not in COUNTED or name == type_.id_field:
            words = f"{name} has too many values to group by."
            place.report(problems, words, "Name a field of type text, choice, boolean or integer.")
    return problems


def _at(node: yamltext.Mapping, key: str) -> yamltext.Node:
    found = node.get(key)
    return node if found is None else found
