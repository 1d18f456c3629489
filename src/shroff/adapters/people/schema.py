"""The tables of people as SQLAlchemy knows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from sqlalchemy import Table

from shroff.people.audit import AuditEntry, AuditHead
from shroff.people.store import ApiKey, Attempts, KeptAnswer, Link, User, UserSession, Visit
from shroff.people.tables import scripted, tables_of

VERSION: Final = 1  # of the tables: the number of the last script
# What keeps the record from being changed by mistake.
_GUARDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "sqlite": tuple(
            f"CREATE TRIGGER IF NOT EXISTS audit_{verb.lower()} BEFORE {verb} ON audit "
            f"BEGIN SELECT RAISE(ABORT, 'rows of the audit stay as they are'); END"
            for verb in ("UPDATE", "DELETE")
        ),
        "postgresql": (
            (
                "CREATE OR REPLACE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'rows of the audit stay as they are'; END $$"
            ),
            (
                "CREATE OR REPLACE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
                "FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()"
            ),
        ),
    }
)


_COLUMNS: Final[Mapping[type, str]] = MappingProxyType(
    {  # what a table keeps: its name and columns, in the order of the fields, each with a letter of `tables.KINDS`
        User: "users number:i name:t display_name:t email:t role:r password:t stamp:i is_disabled:b made_at_ms:i "
        "last_login_ms:i subject:e zone:e theme:e factor:h factor_step:i recovery:t",
        UserSession: "sessions hash:h user_:i stamp:i made_at_ms:i seen_at_ms:i ends_at_ms:i address:t "
        "is_half:b device:t",
        ApiKey: "api_keys id:t name:t hash:h role:r scopes:s made_at_ms:i made_by:t ends_at_ms:i revoked_at_ms:i "
        "used_at_ms:i",
        Link: "links hash:h user_:i ends_at_ms:i",
        Attempts: "attempts hash:h count:i last_at_ms:i until_ms:i",
        Visit: "visits hash:h state:t nonce:t verifier:t back:t ends_at_ms:i",
        AuditEntry: "audit number:i at_ms:i who:t name:t via:t action:t subject:t before_:t after_:t previous:h hash:h",
        AuditHead: "audit_head one:i number:i hash:h seal:h",
        KeptAnswer: "answered hash:h outcome:t at_ms:i",
    }
)


@cache
def tables() -> Mapping[type, Table]:
    """The tables of people, by what they keep; the first column of each is its key."""
    named = {kind: text.partition(" ")[::2] for kind, text in _COLUMNS.items()}
    made = tables_of(dict(named.values()))
    return {kind: made[name] for kind, (name, _) in named.items()}


def statements(kind: str, found: int) -> Iterator[str]:
    """Statements that bring tables from a version, 0 for none, up to this one."""
    yield from scripted("migrations_people", VERSION, kind, found)
    yield from _GUARDS[kind] if found < 1 else ()
