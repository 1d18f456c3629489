"""The JSON API: handlers, and the table of routes."""
