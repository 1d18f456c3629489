"""Backtests: compare a draft with recorded decisions."""
