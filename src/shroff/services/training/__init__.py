"""Train models, once or for each file that arrives, and write training sets."""
