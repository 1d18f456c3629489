"""Back-tests: a draft held against what was decided."""
