"""What a tunnel needs of the messages under it. NATS is one carrier, a pipe may be another; the tunnel knows neither.

A carrier may lose messages, and says so if it knows. What it delivers comes in the order of the publisher. It keeps no
message for a subscriber that is not there: such a message has nobody, and where it has a reply subject, that is said
there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from brummer.core.events import Hook


class CarrierChange(Enum):
    """What has happened to the carrier's connection."""

    LOST = "lost"
    """It may have lost messages, in both directions."""
    BACK = "back"
    """It is connected again, with the same subscriptions."""
    WRITABLE = "writable"
    """It is not full any more."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that has come. ``is_nobody``: it came from the carrier: nobody hears what had this subject as reply."""

    subject: str
    reply: str = ""
    data: bytes = b""
    is_nobody: bool = False


class Carrier(Protocol):
    """Messages by subject. All of it is called on the event loop, and returns at once."""

    changes: Hook[CarrierChange]

    @property
    def is_full(self) -> bool:
        """So much waits to be sent that the caller should publish no more data until `CarrierChange.WRITABLE`."""

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        """Send it, in order. Without a connection it is dropped: nothing is sent late."""

    def subscribe(self, subject: str, heard: Callable[[Delivery], None]) -> Callable[[], None]:
        """Hear what comes under the subject; ``*`` as its last token stands for any. Return what ends it."""
