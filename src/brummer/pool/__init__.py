"""What calls share: slots, connections and memory for large answers."""
