"""The log in SQLite and PostgreSQL. Here are the addresses of those that a project names."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import MappingShape
from shroff.streams.settings import AdapterSettings

SQLITE: Final = AdapterSettings("One file in .shroff/, the default.", MappingShape("a file"))
POSTGRESQL: Final = AdapterSettings(
    "One schema of a PostgreSQL database.", MappingShape("a database"), schemes={"postgresql": 5432}
)
SETTINGS: Final = {"postgresql": POSTGRESQL, "sqlite": SQLITE}
