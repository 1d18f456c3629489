"""The log contract, offsets and outbox; knows nothing of fraud."""
