"""Backends of a cluster: Dask and Spark."""
