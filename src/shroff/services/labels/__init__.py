"""Record labels; report unmatched and conflicting ones, and label delay."""
