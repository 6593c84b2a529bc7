"""Times that hub and instances must agree on for calls whose connection was lost."""

from typing import Final

RECONNECT_CAP_S: Final = 15.0
"""The longest pause between two attempts of a hub to connect: the longest that an instance which came back may go
unnoticed when every event that tells of it was lost.
"""

GRACE_S: Final = 4 * RECONNECT_CAP_S
"""How long the work of a call goes on whose connection was lost: a hub that lives is back within one pause of its
backoff, four times over. For as long a hub tries to cancel such work; after that, the work has ended by itself.
"""
