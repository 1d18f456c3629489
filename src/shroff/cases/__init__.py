"""Alerts, cases and dispositions."""
