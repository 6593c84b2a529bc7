"""What a hub knows of each peer (an instance or a foreign server): its entry, its process, what happened to it."""
