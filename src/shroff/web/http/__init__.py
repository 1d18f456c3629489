"""HTTP: protocol, limits, routing, problem documents, OpenAPI."""
