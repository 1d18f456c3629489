"""The log and files read as columns."""
