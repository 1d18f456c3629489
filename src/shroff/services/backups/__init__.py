"""Backups: made, verified, pruned and restored; migrations of the tables after one."""
