"""Ports that a test can rely on for as long as it runs, whatever else runs on the machine."""

import random
import socket
from typing import Final

OUT_OF_THE_WAY: Final = range(20_000, 30_000)
"""Neither where instances look for a port of their own, nor where the system takes those of outgoing connections."""


def free_port() -> int:
    """One that nobody listens on; chosen at random, so that two test runs do not meet there."""
    while True:
        port = random.choice(OUT_OF_THE_WAY)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
