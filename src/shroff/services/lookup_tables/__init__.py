"""Look-up tables and rates of currencies."""
