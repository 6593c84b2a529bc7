"""`brum --test-resource-limits`: each limit driven past its edge against a throw-away hub and throw-away instances."""
