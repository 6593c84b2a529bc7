"""Bytes and messages: JSON-RPC, both MCP eras, stdio and Streamable HTTP."""
