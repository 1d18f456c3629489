"""Rules of Stripe Radar, imported."""
