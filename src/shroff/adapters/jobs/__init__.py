"""Job stores: the database of the log."""
