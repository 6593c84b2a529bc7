"""Byte streams over a carrier of messages, such as NATS: a socket here, a socket there, and the same bytes at both."""
