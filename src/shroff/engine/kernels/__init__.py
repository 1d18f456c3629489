"""Kernels that write the text of decisions, for whole batches."""
