"""shroff.yaml: outside systems, sign-in, mail, cases."""
