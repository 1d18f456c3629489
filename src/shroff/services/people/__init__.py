"""The acting user, the audit record, and personal data to export or erase."""
