"""Where jobs are kept: the database of the log."""
