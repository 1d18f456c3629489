"""Kernels that write the text of decisions and hash it, for whole batches."""
