"""Times that hub and instances must agree on for calls whose connection was lost."""

from typing import Final

RECONNECT_CAP_S: Final = 15.0
"""The longest pause between two attempts of a hub to connect. If the hub missed all events of an instance that has come
back, it notices the instance after this time at the latest.
"""

LOST_CALL_GRACE_S: Final = 4 * RECONNECT_CAP_S
"""How long an instance continues the work of a call after its connection was lost. A living hub reconnects within one
pause of its backoff; this is four of them. A hub tries to cancel such work for as long; after that, the work has ended
by itself.
"""
