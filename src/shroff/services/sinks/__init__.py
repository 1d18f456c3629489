"""Deliveries to sinks and online features."""
