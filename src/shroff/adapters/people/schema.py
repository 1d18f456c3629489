"""The tables of people as SQLAlchemy knows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from shroff.people.tables import scripted

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


def statements(kind: str, found: int) -> Iterator[str]:
    """Statements that bring tables from a version, 0 for none, up to this one."""
    yield from scripted("migrations_people", VERSION, kind, found)
    yield from _GUARDS[kind] if found < 1 else ()
