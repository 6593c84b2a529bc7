"""The JSON-RPC error by which an instance refuses to begin a call.

It refuses one request. It contains the reason, and what the next request for the same call needs: the position of the
ledger, and the time on the instance's clock.
"""

from typing import Literal

import msgspec

Why = Literal["late", "hung_up", "forgotten", "no_room"]
"""``late``: the call must not begin any more. ``hung_up``: the connection of the request has ended. ``forgotten``: the
call may have run, and its result is no longer kept. ``no_room``: the instance is short of memory.
"""


class NotBegunData(msgspec.Struct, frozen=True):
    """``data`` of the JSON-RPC error. ``clock_s``: seconds on the instance's clock."""

    why: Why
    ledger_position: int
    clock_s: float
