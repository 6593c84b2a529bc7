"""One connection for the agent, every instance behind it: discover, route, recover."""
