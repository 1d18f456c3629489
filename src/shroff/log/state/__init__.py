"""State folded from the log, and its snapshots."""
