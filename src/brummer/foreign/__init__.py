"""MCP servers that are not ours: how each is spoken to, what its refusals mean, and its results in our form."""
