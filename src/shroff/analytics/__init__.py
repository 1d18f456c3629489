"""How many, of what, and when."""
