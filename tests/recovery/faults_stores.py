"""Where a world's log is: a schema of PostgreSQL or tables of MariaDB, and who leads it."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

LED: Final = "SELECT owner FROM {}lease WHERE expires_ms > 0"


def named(url: str, name: str, scheme: str) -> str:
    """The address of a log of its own in a store."""
    return f"{url}?schema={name}" if scheme == "postgresql" else f"{url}?prefix={name}_"


def leader_pid(store: str, name: str) -> int | None:
    """The process that holds the lease of a log."""
    rows = _asked(store, LED.format(f"{name}." if store.startswith("postgresql") else f"{name}_"))
    found = re.search(r"process (\d+)", rows[0][0]) if rows else None
    return None if found is None else int(found[1])


def _asked(store: str, sql: str) -> list[Any]:
    where = urlsplit(store)
    if where.scheme == "postgresql":
        import psycopg

        with psycopg.connect(store) as database:
            return database.execute(sql).fetchall()
    import pymysql

    own = {"user": where.username, "password": where.password, "database": where.path[1:]}
    with (
        pymysql.connect(host=where.hostname, port=where.port, **own) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
        return list(cursor.fetchall())
