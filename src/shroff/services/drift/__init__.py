"""Drift of a model's inputs and score."""
