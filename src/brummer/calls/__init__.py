"""A call over a link: its run, its deadline, its outcome."""
