"""Check the project's files and run the tests of its rules."""
