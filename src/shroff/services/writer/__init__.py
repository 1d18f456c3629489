"""The process that writes the log, and requests to it from others."""
