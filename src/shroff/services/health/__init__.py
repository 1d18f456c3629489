"""Check the project and the systems around it; estimate the machine it needs."""
