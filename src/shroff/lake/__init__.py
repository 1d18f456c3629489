"""The log as files in a folder or bucket."""
