"""The PORT of each line of a Procfile, as foreman and honcho number them: 5000, 5100, 5200, and so on."""

import threading
from collections.abc import Callable
from typing import Final

from brummer.host.ports import is_free

FIRST: Final = 5000
STEP: Final = 100
"""Between two lines of a Procfile, so that there is room for several processes of one line."""
LAST: Final = 65_535


class ScriptPorts:
    """A script keeps its port for the life of an instance, whoever has it meanwhile. For several threads."""

    def __init__(self, is_free: Callable[[int], bool] = is_free) -> None:
        self._is_free = is_free
        self._given: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()

    def port_of(self, script: str, wanted: int) -> int:
        """The port of this script: the wanted one, or the next one that is free and that no other script has. Another
        wanted number is another question.
        """
        key = (script, wanted)
        with self._lock:
            if key not in self._given:
                taken = set(self._given.values())
                near = range(max(1, wanted), min(wanted + STEP, LAST + 1))
                self._given[key] = next((port for port in near if port not in taken and self._is_free(port)), wanted)
            return self._given[key]
