"""The log in SQLite and PostgreSQL. Here are the addresses of those that a project names."""

from __future__ import annotations

from shroff.language.keys import MappingShape
from shroff.streams.settings import AdapterSettings

SQLITE = AdapterSettings("One file in .shroff/, the default.", MappingShape("a file"))
POSTGRESQL = AdapterSettings(
    "One schema of a PostgreSQL database.", MappingShape("a database"), schemes={"postgresql": 5432}
)
SETTINGS = {"postgresql": POSTGRESQL, "sqlite": SQLITE}
