"""Pages of cases and labels."""
