"""Chargebacks: their stages, due dates and evidence packs."""
