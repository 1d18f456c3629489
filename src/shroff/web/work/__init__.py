"""Work beside requests: processes of back-tests and checks, upkeep of cases and of the index."""
