"""Bytes and messages: HTTP over TCP (`http`), MCP over it and over stdio (`mcp`)."""
