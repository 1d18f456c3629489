"""Schema registries: over HTTP."""
