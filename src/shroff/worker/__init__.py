"""Everything that leads a log: ingest, inbox, request queue, standby."""
