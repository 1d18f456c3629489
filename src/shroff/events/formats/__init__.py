"""Formats of files and messages: CSV, JSON and Parquet, decoded into values and columns."""
