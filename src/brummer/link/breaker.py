"""Whether calls may pass: a circuit breaker as a pure function of time and outcomes.

An agent that calls a broken instance again and again gets an error at once, not after the full wait each time. The
breaker counts failures in a row, of the transport, never of a tool. While it is open, no call passes. After that time
it is half-open: one call is the trial, with a deadline of its own. Its success closes the breaker, its failure
opens it for longer. A link that proves its instance alive closes it too, whatever was counted.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

FAILURES: Final = 3
"""In a row until it opens. One may be a restart, two a slow restart."""

OPEN_S: Final = 5.0
OPEN_MAX_S: Final = 60.0
TRIAL_S: Final = 30.0
"""After this time without an answer a trial counts as failed: it may wait for an answer that never comes."""

BreakerState = Literal["closed", "open", "half-open"]


@dataclass(slots=True)
class Breaker:
    """All times are seconds of awake time on the caller's clock: a sleep must not count as failing."""

    failures: int = 0
    open_until_s: float | None = None
    openings: int = 0
    _trial_until_s: float | None = field(default=None, repr=False)

    def state(self, now_s: float) -> BreakerState:
        if self.open_until_s is None:
            return "closed"
        return "open" if now_s < self.open_until_s else "half-open"

    def admits(self, now_s: float) -> bool:
        """Whether one more call may pass now. In the half-open state, the call that passes is the trial."""
        if self.open_until_s is None:
            return True
        if now_s < self.open_until_s or (self._trial_until_s is not None and now_s < self._trial_until_s):
            return False
        self._trial_until_s = now_s + TRIAL_S
        return True

    def retry_after_s(self, now_s: float) -> float:
        """Seconds until a call may pass; 0 when it may now."""
        until_s = max(self.open_until_s or now_s, self._trial_until_s or now_s)
        return max(0.0, until_s - now_s)

    def succeeded(self) -> None:
        """A call was answered, or the instance proved alive."""
        self.failures = self.openings = 0
        self.open_until_s = self._trial_until_s = None

    def failed(self, now_s: float) -> None:
        """A call failed for want of a working connection."""
        self.failures += 1
        was_trial, self._trial_until_s = self._trial_until_s is not None, None
        if was_trial or (self.failures >= FAILURES and self.open_until_s is None):
            self.openings += 1
            self.open_until_s = now_s + min(OPEN_MAX_S, OPEN_S * 2.0 ** min(self.openings - 1, 10))

    def abandoned(self) -> None:
        """The trial was cancelled and proves nothing: the next call may be the trial."""
        self._trial_until_s = None
