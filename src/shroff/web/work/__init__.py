"""Work outside of requests: processes for operations, upkeep of cases, and preparation of pages."""
