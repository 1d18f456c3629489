"""What every long-running process needs: progress, whole files, pauses of the garbage collector, process priority."""
