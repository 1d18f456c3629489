"""Stores of summaries: tables of PostgreSQL, MariaDB or SQLite."""
