"""Training: from a project's log to a model in its registry."""
