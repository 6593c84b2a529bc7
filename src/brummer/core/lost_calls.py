"""Times that hub and instances must agree on for calls whose connection was lost."""

from typing import Final

RECONNECT_CAP_S: Final = 15.0
"""The longest pause between two attempts to connect to an instance that is not near; `brummer.link.failures.cap_s` has
the other cases. Even if the hub missed every event, it finds an instance that has come back within this time.
"""

LOST_CALL_GRACE_S: Final = 4 * RECONNECT_CAP_S
"""How long an instance continues the work of a call after its connection was lost. A living hub reconnects within one
pause of its backoff; this is four of them. A hub tries to cancel such work for as long; after that, the work has ended
by itself.
"""
