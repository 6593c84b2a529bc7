"""Why links break: the machine slept, we did not run, or the network changed."""
