"""Adapters: bind a contract to an outside system, one file per system, named by contract and technology."""
