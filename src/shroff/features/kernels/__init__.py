"""The compiled kernels of windows, distinct counts, order statistics and rules."""
