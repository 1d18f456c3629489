"""Whatever leads a log: ingest, inbox, request queue, standby."""
