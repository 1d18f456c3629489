"""Who may do what: users, sessions, keys, and the record of who did it."""
