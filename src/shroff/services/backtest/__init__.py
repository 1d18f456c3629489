"""Compare draft rules and models with past decisions."""
