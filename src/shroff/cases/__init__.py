"""Alerts, cases and dispositions: what people look at, and how it ended."""
