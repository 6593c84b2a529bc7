"""Two hubs, three instances, two clients and a foreign server in one loop of virtual time, under every fault there is.

The hubs, their links, calls, pools and fronts, the registry, the instances' registrars, ledgers and keyed calls, and
the wire are the real ones; below them are `brummer.testing`'s in-memory system and nothing else. One seed is one run:
the same faults at the same moments. `schedule` plays it, `judge` says what was wrong with it, `runner` does many.
"""
