"""Values that link keys, and rings of linked keys."""
