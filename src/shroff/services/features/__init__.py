"""Profiles of features: meaning, cost, readers and values."""
