"""Make the project's files the active version."""
