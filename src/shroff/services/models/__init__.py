"""Models: the registry, promotion, rollback, and models in notebooks."""
