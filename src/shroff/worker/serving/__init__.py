"""The worker: a source in, the log and all effects out."""
