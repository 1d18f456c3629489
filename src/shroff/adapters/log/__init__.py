"""The log in SQLite, PostgreSQL, MariaDB and memory."""
