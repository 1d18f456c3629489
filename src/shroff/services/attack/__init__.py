"""Drills: seeded attackers against a copy of the log."""
