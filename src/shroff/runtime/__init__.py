"""Shared needs of long-running processes: progress, whole files, garbage collector, process priority."""
