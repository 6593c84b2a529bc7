"""`brum --test-resource-limits`: each limit is driven past its edge, with real processes."""
