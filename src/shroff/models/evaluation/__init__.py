"""A model judged: folds, metrics, intervals, cut-offs, gates."""
