"""Pages of rules, drafts, lists, back-tests and thresholds."""
