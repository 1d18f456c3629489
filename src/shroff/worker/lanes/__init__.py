"""Several lanes: each a log of its own over its partitions."""
