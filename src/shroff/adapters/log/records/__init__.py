"""The records of a log in SQL."""
