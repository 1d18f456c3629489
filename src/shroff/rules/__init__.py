"""Rule files: conditions with an effect and a reason, and their tests."""
