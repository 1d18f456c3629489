"""Users and sessions in the database of the log; OpenID providers."""
