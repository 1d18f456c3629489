"""Projects that are proposed from a file."""
