"""Maintenance of a project: what is wrong with it, what it needs, old events and saved state."""
