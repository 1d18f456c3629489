"""Look-up tables by prefix, suffix and network."""
