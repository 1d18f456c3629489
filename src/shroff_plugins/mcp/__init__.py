"""The MCP server: read-only questions to a service, for assistants."""

from __future__ import annotations

OPERATIONS = {"mcp": ("shroff_plugins.mcp.server", "offer a service's data to an assistant, read-only (MCP)")}
