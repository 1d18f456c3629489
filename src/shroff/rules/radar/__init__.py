"""Import of Stripe Radar rules."""
