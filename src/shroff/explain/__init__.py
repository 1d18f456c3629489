"""Why a decision came out as it did, and what would change it."""
