"""What can go wrong with a server, and why a test cannot have it."""

from __future__ import annotations


class UnavailableError(Exception):
    """A server cannot be had on this machine; the text says what is missing and how to get it."""


class ServerError(Exception):
    """A server did not start or did not end; the text has the last lines of its log."""
