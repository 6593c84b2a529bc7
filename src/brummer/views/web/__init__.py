"""The page: one file for a browser, and the server that gives it to this user alone."""
