"""How one child lives: its process group, its output, its states, and the guard that outlives us."""
