"""The engine: `step` turns a batch of events into decisions, hits and flags."""
