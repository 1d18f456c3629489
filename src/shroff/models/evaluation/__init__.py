"""A model judged: folds, metrics, intervals, thresholds, gates."""
