"""The worker: moves messages of a source into the log, and drives delivery and background tasks."""
