"""A process manager for one project: what can be run here, what runs, and the calls an agent can make."""
