"""Cases in the database of the log."""
