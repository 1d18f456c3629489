"""The content of the log, and writing a batch to it."""
