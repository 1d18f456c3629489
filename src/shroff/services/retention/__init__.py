"""Prune old events, save snapshots, and set the watermark back."""
