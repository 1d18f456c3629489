"""Lists that rules read."""
