"""Models of an opened project: training, promotion, retraining, import."""
