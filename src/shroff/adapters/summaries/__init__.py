"""Where summaries are kept: tables of PostgreSQL, MariaDB or SQLite."""
