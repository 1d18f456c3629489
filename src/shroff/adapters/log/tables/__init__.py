"""Tables of a log in SQL, their statements and checksums."""
