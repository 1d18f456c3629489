"""The content of the log, and writing batches to it."""
