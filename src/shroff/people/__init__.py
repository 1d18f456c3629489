"""Users, sessions, keys and roles, and the audit log."""
