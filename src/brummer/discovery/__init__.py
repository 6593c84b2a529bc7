"""The shared directory: instances publish their records there, and hubs find them."""
