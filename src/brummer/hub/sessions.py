"""Which client talks to which instance by default."""

from collections import OrderedDict
from typing import Final

SESSION_LIMIT: Final = 1_000
"""As many as the HTTP front keeps; a forgotten choice costs the agent one clear error."""


class Sessions:
    """Session id → the instance chosen by ``instances_connect``, bounded."""

    def __init__(self) -> None:
        self._chosen: OrderedDict[str, str] = OrderedDict()

    def choose(self, session_id: str, instance_id: str) -> None:
        self._chosen[session_id] = instance_id
        self._chosen.move_to_end(session_id)
        if len(self._chosen) > SESSION_LIMIT:
            self._chosen.popitem(last=False)

    def chosen(self, session_id: str) -> str | None:
        return self._chosen.get(session_id)

    def forget(self, session_id: str) -> str | None:
        """Returns what had been chosen."""
        return self._chosen.pop(session_id, None)
