"""Jobs of an opened project: kinds, the desk that keeps them, their processes, and what begins them."""
