"""The log and files as columns."""
