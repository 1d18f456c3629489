"""The engine: step(state, batch) gives decisions, hits and flags."""
