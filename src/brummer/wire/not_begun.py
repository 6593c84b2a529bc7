"""How an instance refuses to begin a call, as JSON-RPC carries it.

The refusal is about one request. It says why, and what the next request for the same call is judged by: where the
ledger is, and what the instance's clock shows.
"""

from typing import Literal

import msgspec

Why = Literal["late", "hung_up", "forgotten", "no_room"]
"""``late``: the call must not begin any more. ``hung_up``: the connection that the request came on has ended.
``forgotten``: the call may have run, and its result is not kept any more. ``no_room``: the instance is short of memory.
"""


class NotBegunData(msgspec.Struct, frozen=True):
    """``data`` of the JSON-RPC error. ``clock_s``: seconds on the instance's clock."""

    why: Why
    ledger_position: int
    clock_s: float
