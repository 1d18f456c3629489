"""Where a world's log is: a schema of PostgreSQL, and who leads it."""

from __future__ import annotations

import re


def named(url: str, name: str) -> str:
    """The address of a log of its own in a store."""
    return f"{url}?schema={name}"


def leader_pid(store: str, name: str) -> int | None:
    """The process that holds the lease of a log."""
    import psycopg

    with psycopg.connect(store) as database:
        rows = database.execute(f"SELECT owner FROM {name}.lease WHERE expires_ms > 0").fetchall()
    found = re.search(r"process (\d+)", rows[0][0]) if rows else None
    return None if found is None else int(found[1])
