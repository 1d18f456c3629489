"""The contract of logs, by subject."""
