"""Two hubs, three instances, two clients and a foreign server in one loop of virtual time, under every kind of fault.

The hubs, their links, calls, pools and fronts, the registry, the instances' registrars, ledgers and keyed calls, and
the wire are the real code; below it is only the in-memory system of `brummer.testing`. One seed is one run: the same
faults at the same moments. `schedule` plays it, `judge` finds what was wrong with it, `runner` runs many.
"""
