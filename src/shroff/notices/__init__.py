"""Mails, digests and the customer's confirmation."""
