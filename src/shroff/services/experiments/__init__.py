"""Experiments of policy.yaml: their result in money, and their end."""
