"""Models that were trained elsewhere, read from their files."""
