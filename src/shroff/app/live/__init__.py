"""Live input and output of an opened project: sources, sinks, lanes."""
