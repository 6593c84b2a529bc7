"""MCP messages: JSON-RPC, both eras, the server over stdio and Streamable HTTP, and its tools."""
