"""Pages of the service for a browser, rendered on the server."""
