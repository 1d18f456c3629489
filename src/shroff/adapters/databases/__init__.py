"""Connections to SQLite, PostgreSQL and MariaDB: how they open, and what their errors mean."""
