"""Pulled and pushed sources, and their read positions."""
