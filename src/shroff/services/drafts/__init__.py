"""Drafts of rules, from the first text to the active version."""
