"""The JSON API of rules, drafts, lists and back-tests."""
