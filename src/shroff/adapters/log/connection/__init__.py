"""The connection of a log to its database, a class for SQLite and one for PostgreSQL."""
