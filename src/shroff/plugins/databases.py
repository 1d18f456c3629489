"""Tables of PostgreSQL, MariaDB and SQLite through SQLAlchemy."""

from __future__ import annotations

from shroff.adapters.databases.server_url import is_loopback
from shroff.adapters.databases.sql_database import (
    JSON,
    MOMENT,
    NAME,
    TEXT,
    WHOLE,
    RejectedRowError,
    SqlDatabase,
    adding,
    key_column,
    make_missing,
    replacing,
    value_column,
)
from shroff.adapters.sinks import SQL
