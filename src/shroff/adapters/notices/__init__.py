"""Notices in the database of the log."""
