"""Ids of framed records as sorted runs of digests, and the tables that have them."""
