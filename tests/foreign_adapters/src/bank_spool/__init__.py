"""Adapters for shroff over files of lines."""
