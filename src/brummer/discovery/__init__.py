"""The shared directory: instances announce themselves there, and hubs find them."""
