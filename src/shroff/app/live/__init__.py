"""Live input and output of an opened project: sources and sinks."""
