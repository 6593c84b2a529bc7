"""`brum --test-resource-limits`: tests that exceed each limit, with real processes."""
