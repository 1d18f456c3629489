"""Contracts of log, sources, sinks and lake; independent of fraud detection."""
