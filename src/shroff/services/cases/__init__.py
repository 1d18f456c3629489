"""The queue, one case, and what analysts do with it."""
