"""How lines of files and messages of sources become values: CSV, JSON, Parquet, and columns of them."""
