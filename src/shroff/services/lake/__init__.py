"""The lake: written, compacted, published, checked and read."""
