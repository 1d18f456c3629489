"""Training sets: rows, labels as known at a moment, and their manifest."""
