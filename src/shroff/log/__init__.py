"""What the log holds, and how a batch is written to it."""
