"""Notices: declared, previewed, sent and answered."""
