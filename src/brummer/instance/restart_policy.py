"""Does a script that has ended start again, and when: the policy, the backoff, and the crash-loop rule. Pure.

**Crash loop**: `LOOP_ENDS` ends in a row, each within `SHORT_S` of its start. Whatever is wrong will not mend itself,
so the script is left alone, with the first of those errors as the reason: later ones are often its consequences. A run
that lasted longer ends the row; so a script that fails twice an hour is started again for ever.
"""

from typing import Final, Literal, NamedTuple

Policy = Literal["no", "on-failure", "always"]

BASE_S: Final = 0.5
"""A port, or a lock on a file, is free again in that time."""
CAP_S: Final = 30.0
SHORT_S: Final = 10.0
"""Longer than a dev server takes until it fails at its start; shorter than anybody takes to use it."""
LOOP_ENDS: Final = 5
"""After 0.5, 1, 2 and 4 s: a database that starts beside it has had 8 s by then."""


class Decision(NamedTuple):
    """``delay_s`` until it starts again, None if it does not; ``why_not`` when it would have been wanted."""

    delay_s: float | None
    why_not: Literal["crash loop", "limit"] | None = None


class Restarts:
    """Of one script, since somebody asked for it."""

    def __init__(self, policy: Policy = "no", limit: int | None = None) -> None:
        self._policy = policy
        self._limit = limit
        self._row: list[str] = []
        self.count = 0

    def __repr__(self) -> str:
        return f"<Restarts {self._policy}, {self.count} of {self._limit}, {len(self._row)} short runs in a row>"

    @property
    def first_error(self) -> str | None:
        """Of the row of short runs, if there is one."""
        return self._row[0] if self._row else None

    def ended(self, lasted_s: float, *, well: bool, error: str) -> Decision:
        """A run is over that nobody asked to end. ``error`` says in words how it ended."""
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
        return Decision(min(CAP_S, BASE_S * 2.0 ** max(0, len(self._row) - 1)))
