"""The pause before the next attempt to connect: exponential, with full jitter inside a cap, for ever. Pure."""

from random import Random
from typing import Final

from brummer.core.lost_calls import RECONNECT_CAP_S

RECONNECT_BASE_S: Final = 0.1
"""A restarting dev server is back in some hundred milliseconds."""

LOCAL_CAP_S: Final = 1.0
"""The longest pause for an instance whose process was seen on this machine, where a refused dial costs 50 µs; and
after a failure for want of descriptors or memory, because no event says when the shortage is over.
"""

REFUSED_CAP_S: Final = 300.0
"""The longest pause for a server that answers and refuses: only a person can change that, and a call dials at once. On
average it makes 600 dials a day.
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
