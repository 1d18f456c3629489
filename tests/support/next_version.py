"""A made-up version 2 of the tables, as a later release brings one: its script, and a program that knows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from shroff.adapters.databases import postgres_tables, sqlite_file
from shroff.adapters.databases.postgres_dump import PostgresDump
from shroff.adapters.log.connection import postgresql as postgresql_connection
from shroff.adapters.log.connection import sqlite as sqlite_connection
from shroff.adapters.people import sql as people
from shroff.services.backups import migration

SCRIPT: Final = """-- From version 1: a note, and what has one.
ALTER TABLE remarks ADD COLUMN note TEXT;
CREATE TABLE noted (seq INTEGER PRIMARY KEY);
CREATE INDEX remarks_by_note ON remarks (note);
"""


def use_version_2(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let this process be a program whose tables are version 2.

    Args:
        folder: A place for the script of the migration.
    """
    folder.mkdir(exist_ok=True)
    (folder / "0002_add_notes.sql").write_text(SCRIPT)
    versions: list[tuple[Any, str]] = [
        *((module, "VERSION") for module in (sqlite_connection, postgres_tables, postgresql_connection)),
        *((module, "LOG_VERSION") for module in (people, migration)),
    ]
    for module, name in versions:
        monkeypatch.setattr(module, name, 2)
    monkeypatch.setattr(PostgresDump, "version", 2)
    monkeypatch.setitem(migration.KNOWN, migration.LOG, 2)
    for place in (sqlite_file, postgres_tables):
        monkeypatch.setattr(place, "MIGRATIONS", folder)
