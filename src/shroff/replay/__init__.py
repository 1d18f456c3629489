"""Computes decisions again and compares them, and exports the log."""
