"""Whether and when a script that has ended is restarted: the policy, the backoff, and the crash-loop rule. Pure.

**Crash loop**: `LOOP_ENDS` ends in a row, each within `SHORT_S` of its start. A restart will not help, so the
script is not restarted, and the reason is the first of those errors: later ones are often its consequences. A run that
lasted longer ends the row, so a script that fails twice an hour is always restarted.
"""

from typing import Final, Literal

import msgspec

Policy = Literal["no", "on-failure", "always"]

RESTART_BASE_S: Final = 0.5
"""A port, or a lock on a file, is free again in that time."""
RESTART_CAP_S: Final = 30.0
SHORT_S: Final = 10.0
"""Longer than a dev server takes until it fails at its start, and shorter than it is used. A dependency that has run
for so long counts as started (`brummer.instance.dependencies`).
"""
LOOP_ENDS: Final = 5
"""After 0.5, 1, 2 and 4 s: a database that starts beside it has had 8 s by then."""


class Decision(msgspec.Struct, frozen=True):
    """``delay_s`` until the restart, None without one; ``why_not`` if the policy would have restarted it."""

    delay_s: float | None
    why_not: Literal["crash loop", "limit"] | None = None


class Restarts:
    """The restarts of one script since its last requested start."""

    def __init__(self, policy: Policy = "no", limit: int | None = None, base_s: float = RESTART_BASE_S) -> None:
        self._policy = policy
        self._limit = limit
        self._base_s = base_s
        self._row: list[str] = []
        self.count = 0

    def __repr__(self) -> str:
        return f"<Restarts {self._policy}, {self.count} of {self._limit}, {len(self._row)} short runs in a row>"

    @property
    def first_error(self) -> str | None:
        """The first of the row of short runs, if there is one."""
        return self._row[0] if self._row else None

    def ended(self, lasted_s: float, *, well: bool, error: str) -> Decision:
        """A run has ended without a request. ``error`` says in words how it ended."""
        if self._policy == "no" or (self._policy == "on-failure" and well):
            return Decision(None)
        if lasted_s >= SHORT_S:
            self._row.clear()
        else:
            self._row.append(error)
        if len(self._row) == LOOP_ENDS:
            return Decision(None, "crash loop")
        if self.count == self._limit:
            return Decision(None, "limit")
        self.count += 1
        return Decision(min(RESTART_CAP_S, self._base_s * 2.0 ** max(0, len(self._row) - 1)))
