"""HTTP/1.1 over TCP: connections, the server, the token, event streams."""
