"""Thresholds of the score, by cost and review capacity."""
