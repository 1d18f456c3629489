"""The log in SQLite, PostgreSQL and MariaDB. Here are the addresses of those that a project names."""

from __future__ import annotations

from typing import Final

from shroff.language.keys import Keys
from shroff.streams.settings import AdapterSettings

SQLITE: Final = AdapterSettings("One file in .shroff/, the default.", Keys("a file"))
POSTGRESQL: Final = AdapterSettings(
    "One schema of a PostgreSQL database.", Keys("a database"), schemes={"postgresql": 5432}
)
MARIADB: Final = AdapterSettings(
    "Tables of a MariaDB database with a prefix.", Keys("a database"), schemes={"mariadb": 3306}
)
SETTINGS: Final = {"postgresql": POSTGRESQL, "mariadb": MARIADB, "sqlite": SQLITE}
