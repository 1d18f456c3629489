"""Analytics of an opened project, over its log and lake."""
