"""What calls share: connections, fair turns and memory for large answers."""
