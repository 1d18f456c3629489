"""Case filters as query strings, for the API, pages and views: `state=open&assignee=me&min_stake=1000`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from shroff.cases.case import CLAIMED, ESCALATED, OPEN, ORDERS, SAMPLE, SNOOZED, STATES, UNCLOSED, VERDICTS, CaseFilter
from shroff.engine.exploration import SAMPLED
from shroff.errors import UsageError, nearest
from shroff.json_types import TextDict, TextMapping
from shroff.language.values import named_duration, parse_decimal, rescale_half_even, with_decimal_point
from shroff.people.access import Who
from shroff.project.settings.casework import DEFAULT, MINE
from shroff.runtime.values import replace

if TYPE_CHECKING:
    from shroff.cases.case_service import CaseService
    from shroff.project.definitions import Definitions

ALL = "all"
ME = "me"
QUEUE = (OPEN, CLAIMED)  # cases to work on now: what every screen counts as open
WAITING = (*QUEUE, ESCALATED)
APART = {"open": QUEUE, "escalated": (ESCALATED,), "snoozed": (SNOOZED,)}  # the ways in which a case is not closed
FREE = "free"
SOON_MS = 3_600_000  # in the order `urgent`, cases due within this time come first
TEXT_MAX = 200
LARGEST = 2**62  # fits into the databases' 64-bit integers, with room to spare
KEYS = "state entity key assignee rule min_stake due_within text customer tag queue order".split()
BUILT_IN: Final[TextMapping] = {
    "Open": "",
    "Mine": "assignee=me",
    "Free": "state=open&assignee=free",
    "Late or due in 1 h": "due_within=1h",
    "Customer said no": "customer=fraud",
    "Snoozed": "state=snoozed",
    "Escalated": "state=escalated",
    SAMPLE: f"rule={SAMPLED}",
}


def wanted_of(query: TextMapping, who: Who, desk: CaseService) -> CaseFilter:
    """Build the filter of a query; unknown keys are ignored.

    Raises: UsageError for an invalid value.
    """
    values = {name: query.get(name, "")[:TEXT_MAX] for name in KEYS}
    now_ms = desk.now_ms()
    queue = values["queue"]
    is_mine = values["queue"] == MINE
    within = values["due_within"]
    return CaseFilter(
        states=_states(values["state"]),
        entity=values["entity"],
        key=query.get("key", ""),
        assignees=_assignees(values["assignee"], who),
        rule=values["rule"],
        stake_from=_money(values["min_stake"], desk.money_places),
        due_before_ms=now_ms + min(named_duration("due_within", within), LARGEST // 2) if within else None,
        text=values["text"],
        tag=values["tag"],
        queues=("" if queue == DEFAULT else queue,) if queue and not is_mine else (),
        not_queues=desk.foreign(who) if is_mine else (),
        customer=_one_of(values["customer"], VERDICTS, "customer") if values["customer"] else "",
        soon_ms=now_ms + SOON_MS if query.get("order") == "urgent" else 0,
    )


def require_known(query: TextMapping, who: Who, desk: CaseService, definitions: Definitions) -> None:
    """Check the names of a filter that found nothing.

    Raises: UsageError for a queue, entity or rule that neither the project nor any case has.
    """
    known_names: dict[str, Collection[str]] = {
        "queue": (*desk.settings.queues, DEFAULT, MINE),
        "entity": definitions.events.entities,
        "rule": (*(rule.id for rule in definitions.rules), SAMPLED),
    }
    for name, names in known_names.items():
        value = query.get(name, "")
        if value and value not in names:
            with desk.looking(who) as look:
                if not look.count(wanted_of({"state": ALL, name: value}, who, desk)):
                    raise UsageError(f"{name}: no {name} is called {value[:100]!r}. {nearest(value, names)}".rstrip())


def queue_of(query: TextMapping, who: Who, desk: CaseService) -> CaseFilter:
    """Build the filter of a query for the queue: without a state, cases to work on now.

    Snoozed and escalated cases appear only if the query names their state. Raises: UsageError.
    """
    case_filter = replace(wanted_of(query, who, desk), soon_ms=desk.now_ms() + SOON_MS)
    return case_filter if query.get("state") else replace(case_filter, states=QUEUE)


def order_of(query: TextMapping, default: str = "due") -> str:
    """Return the order of a query, else `default`. Raises: UsageError for an unknown one."""
    return _one_of(query.get("order") or default, ORDERS, "order")


def query_text(text: str) -> str:
    """Normalize a query string for storage: known keys in a fixed order. Raises: UsageError if it cannot be parsed, or
    has other keys.
    """
    try:
        values = dict(parse_qsl(text, keep_blank_values=False, errors="strict", max_num_fields=50))
    except ValueError:
        raise UsageError("query: write a filter as its address has it, such as state=open&min_stake=100.") from None
    unknown = [name for name in values if name not in KEYS]
    if unknown:
        raise UsageError(f"query: a filter has no {unknown[0][:40]!r}. {nearest(unknown[0], KEYS)}".rstrip())
    return urlencode([(name, values[name]) for name in KEYS if name in values])


def query_of(text: str) -> TextDict:
    return dict(parse_qsl(text))


def _states(text: str) -> tuple[str, ...]:
    if not text:
        return UNCLOSED
    return STATES if text == ALL else tuple(_one_of(word, STATES, "state") for word in text.split(","))


def _assignees(text: str, who: Who) -> tuple[str, ...]:
    if not text:
        return ()
    return ("",) if text == FREE else (who.id if text == ME else text,)


def _money(text: str, decimals: int) -> int | None:
    if not text:
        return None
    try:
        return max(
            -LARGEST, min(LARGEST, rescale_half_even(*parse_decimal(with_decimal_point(text, decimals)), decimals))
        )
    except ValueError as error:
        raise UsageError(f"min_stake: {error}.") from None


def _one_of(text: str, allowed: tuple[str, ...], name: str) -> str:
    if text not in allowed:
        raise UsageError(f"{name}: {text[:40]!r} is none of {', '.join(allowed)}. {nearest(text, allowed)}".rstrip())
    return text
