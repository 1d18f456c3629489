"""The report of a trained model: one page with its charts."""
