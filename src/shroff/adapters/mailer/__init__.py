"""Mailers: SMTP, and a folder."""
