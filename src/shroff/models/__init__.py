"""Training sets, training, gates, registry and scoring."""
