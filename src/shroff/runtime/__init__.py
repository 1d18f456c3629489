"""Shared parts of long-running processes: progress, atomic files, garbage collector, process priority."""
