"""Input that was refused: listed, retried and dropped."""
