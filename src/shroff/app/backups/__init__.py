"""Backups of a project: made beside its writers, verified, restored and removed."""
