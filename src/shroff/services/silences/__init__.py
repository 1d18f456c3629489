"""Silences: rules that do not apply to a key until a time."""
