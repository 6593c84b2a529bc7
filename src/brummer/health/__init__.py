"""What is wrong: the catalog of problems, the observations behind it, and `hub_status`."""
