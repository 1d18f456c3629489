"""Rules one by one: text, hits, versions and names to use."""
