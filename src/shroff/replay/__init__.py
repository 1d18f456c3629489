"""Decisions computed again and compared, and exports of the log."""
