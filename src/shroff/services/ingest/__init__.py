"""Append files and streams of events to the log, or send them to the live source."""
