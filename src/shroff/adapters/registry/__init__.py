"""Schema registries: over HTTP, and in memory."""
