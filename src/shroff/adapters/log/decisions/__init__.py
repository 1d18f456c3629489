"""The decisions of a log in SQL."""
