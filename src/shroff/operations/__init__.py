"""The table of operations: what shroff can do, each act declared once, in the room that owns its subject."""
