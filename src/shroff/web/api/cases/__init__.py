"""The JSON API of cases, flags and labels."""
