"""Stores of current feature values: Redis."""
