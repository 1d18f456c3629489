"""Analytics: counts of events by type and day, funnels, features of a key at a moment, summaries."""
