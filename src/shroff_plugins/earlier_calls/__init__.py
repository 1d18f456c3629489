"""Requests and responses of earlier services, as calls.yaml maps them."""
