"""Explain, replay and verify recorded decisions."""
