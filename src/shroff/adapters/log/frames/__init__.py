"""Frames: consecutive records or decisions packed into one row."""
