"""The host's end, from inside: a serial port on which each side sends JSON, one object a line."""

import json
import os
import select
import tty
from pathlib import Path
from typing import Any, Final, Literal

PORT: Final = Path("/dev/ttyS1")
ANSWER_S: Final = 60.0
"""A wish may take the host the length of a pause."""

Want = Literal["wake", "press", "pause"]
"""Wake us from outside; press the power button; stop the machine for a while. Each after, or for, some seconds."""


class Host:
    """Tells the host of what happens here, and asks it for what only it can do."""

    def __init__(self) -> None:
        self._port = os.open(PORT, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._port)
        self._received = b""

    def tell(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._port, data) :]

    def want(self, what: Want, seconds: float) -> None:
        """Returns once the host has heard of it; a pause is over by then."""
        self.tell(want=what, seconds=seconds)
        while b"\n" not in self._received:
            if not select.select([self._port], [], [], ANSWER_S)[0]:
                raise TimeoutError(f"the host does not answer to {what}")
            self._received += os.read(self._port, 4096)
        self._received = self._received.partition(b"\n")[2]
