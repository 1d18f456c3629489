"""Summaries: counts and sums of short windows in SQL tables."""
