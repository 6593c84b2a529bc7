"""What follows from failures in a row: a pause before the next attempt, and a breaker that refuses calls. Pure.

The pause is exponential, with full jitter inside a cap, for ever.

An agent that calls a broken instance again and again gets an error at once, not after the full wait each time. The
breaker counts failures in a row, of the transport, never of a tool. While it is open, no call passes. After that time
it is half-open: one call is the trial, with a deadline of its own. Its success closes the breaker, its failure
opens it for longer. A link that proves its instance alive closes it too, whatever was counted.
"""

from random import Random
from typing import Final, Literal

import msgspec

from brummer.core.lost_calls import RECONNECT_CAP_S

RECONNECT_BASE_S: Final = 0.1
"""A restarting dev server is back in some hundred milliseconds."""

LOCAL_CAP_S: Final = 1.0
"""The longest pause for an instance that is near (`brummer.link.peer.Peer.is_near`), also while its process can't be
looked at because no descriptor is left; and after a failure on this machine (`is_own_fault`), because no event says
when it is over.
"""

REFUSED_CAP_S: Final = 300.0
"""The longest pause for a server that answers and refuses. Only a person can end that, and a waiting call dials sooner
anyway. With this pause the hub dials some 600 times a day. A server's own ``Retry-After`` may be longer.
"""

MULTIPLIER: Final = 2.0

STABLE_S: Final = 30.0
"""After a connection that held this long, the count of failures starts anew."""

_LAST_DOUBLING: Final = 16
"""RECONNECT_BASE_S · 2¹⁶ is far over the cap; counting stops there, so no exponent can overflow."""


def cap_s(*, is_refused: bool, is_near: bool) -> float:
    """The longest pause. ``is_refused``: the peer answers and refuses, and no call waits. ``is_near``: the fault is on
    this machine, where a dial costs next to nothing.
    """
    if is_refused:
        return REFUSED_CAP_S
    return LOCAL_CAP_S if is_near else RECONNECT_CAP_S


def delay_s(attempt: int, rng: Random, cap_s: float = RECONNECT_CAP_S) -> float:
    """Seconds to wait after the ``attempt``-th failure in a row (1, 2, …), in [RECONNECT_BASE_S, cap_s].

    Full jitter: uniform over the whole range up to the exponential ceiling, so that many links never dial in step
    (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    ceiling = min(cap_s, RECONNECT_BASE_S * MULTIPLIER ** min(attempt, _LAST_DOUBLING))
    return rng.uniform(RECONNECT_BASE_S, ceiling)


FAILURES: Final = 3
"""In a row until it opens. One may be a restart, two a slow restart."""

OPEN_S: Final = 5.0
OPEN_MAX_S: Final = 60.0
TRIAL_S: Final = 30.0
"""After this time without an answer a trial counts as failed: it may wait for an answer that never comes."""

BreakerState = Literal["closed", "open", "half-open"]


class Breaker(msgspec.Struct):
    """All times are seconds of awake time on the caller's clock: a sleep must not count as failing."""

    failures: int = 0
    open_until_s: float | None = None
    openings: int = 0
    _trial_until_s: float | None = None

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
