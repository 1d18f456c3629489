"""Backtests: compare a draft with the project without it."""
