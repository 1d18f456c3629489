"""Conditions as small numeric programs, which the kernels carry out."""
