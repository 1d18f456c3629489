"""Tables of cases for SQLAlchemy; `migrations_people/` creates them, next to those of users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from sqlalchemy import BigInteger, Dialect, LargeBinary, Table, Text, TypeDecorator

from shroff.json_types import JsonMapping, TextMapping
from shroff.people.sql import tables_of
from shroff.runtime.texts import escaped, unescaped
from shroff.runtime.values import FrozenStruct


class AnyText(TypeDecorator[str]):
    """A text with any character: NUL, which PostgreSQL cannot store, is escaped."""

    impl = Text
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        """Convert a value with one call, since this runs for each value of each row; `process_bind_param` takes
        three.
        """
        return lambda value: None if value is None else escaped(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], str | None]:
        return lambda value: None if value is None else unescaped(value)


class CaseTables(FrozenStruct):
    case_place: Table
    cases: Table
    case_alerts: Table
    case_history: Table
    case_pending: Table
    case_files: Table
    case_views: Table


_COLUMNS: Final[TextMapping] = MappingProxyType(
    # Columns of each table, each with the letter of its type: integer, text or bytes
    {
        "case_place": "one:i seq:i last_case:i",
        "cases": "number:i about:b entity:t key_:t opened_ms:i due_ms:i state:t assignee:t assignee_name:t lock_ms:i "
        "snoozed_ms:i outcome:t score:i rule_:t reason:t stake:i alerts:i last_seq:i version:i verdict:t closed_ms:i "
        "closed_by:t closed_name:t changed_by:t changed_name:t changed_ms:i look_:i first_by:t first_verdict:t "
        "customer:t tags:t checks:t queue:t auto_close:t",
        "case_alerts": "seq:i entity:t key_:t event:t id:t time_ms:i due_ms:i outcome:t score:i rule_:t rules:t "
        "reason:t stake:i case_:i verdict:t decided_ms:i decided_by:t label:t label_source:t label_ms:i customer:t "
        "event_hash:b queue:t auto_close:t",
        "case_history": "number:i case_:i at_ms:i who:t name:t what:t words:t more:t",
        "case_pending": "number:i kind:t who:t name:t who_kind:t role:t at_ms:i due_ms:i body:t",
        "case_files": "number:i case_:i name:t media_type:t size:i sha256:b who:t who_name:t at_ms:i content:b",
        "case_views": "owner:t name:t owner_name:t is_shared:i query:t changed_ms:i",
    }
)
_KINDS: Final[JsonMapping] = MappingProxyType({"i": BigInteger, "t": AnyText, "b": LargeBinary})
# Number of key columns, if not one
_KEYS: Final[Mapping[str, int]] = MappingProxyType({"case_alerts": 2, "case_views": 2})


@cache
def case_tables() -> CaseTables:
    return CaseTables(**tables_of(_COLUMNS, _KINDS, _KEYS))
