"""The question whether an instance is there and (still) itself."""

import asyncio
import math
from collections.abc import Callable
from functools import partial

from brummer.link.health import Health
from brummer.pool.lease import Dial
from brummer.pool.pool import Connections


class Probe(Dial):
    """A dial that is not ended by its deadline: a stopped instance answers it in the moment it goes on."""

    def __init__(self, connections: Connections, health: Health, on_step: Callable[[], object]) -> None:
        self._health = health
        self._note_asked()
        super().__init__(connections, partial(self._on_dial_step, on_step), None)

    @property
    def due_s(self) -> float:
        """When it should have been answered. Time runs from its begin: before, it could not even be asked."""
        return self._health.last_asked_s + self._health.probe_deadline_s() if self.has_begun else math.inf

    def extend_deadline(self) -> None:
        """It was not answered in time, and gets as much time again."""
        self._note_asked()

    def _on_dial_step(self, on_step: Callable[[], object]) -> None:
        if not self.is_over:
            self._note_asked()
        on_step()

    def _note_asked(self) -> None:
        self._health.asked(asyncio.get_running_loop().time())
