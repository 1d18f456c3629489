"""Adapters for shroff over files of lines."""

OPERATIONS = {"spool": ("bank_spool.operations", "count what the sink has written")}
