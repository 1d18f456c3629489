"""Metrics, drift and health."""
