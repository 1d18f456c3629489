"""Rules and lists of an opened project: drafts, files, silences, back-tests."""
