"""A carrier in memory (`brummer.fleet.tunnel.carrier`), as a server with its clients: loses, holds back, and is cut."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from brummer.core.events import Hook
from brummer.fleet.tunnel.carrier import CarrierChange, Delivery

FULL_BYTES: Final = 512 << 10
"""What a client may have unsent: a small call waits behind no more than that."""


class MemoryBroker:
    """The server. ``carried_bytes``: of all messages; ``most_waiting_bytes``: the most that a carrier had unsent."""

    def __init__(self) -> None:
        self.carriers: list[MemoryCarrier] = []
        self.carried_bytes = self.most_waiting_bytes = 0

    def connect(self) -> "MemoryCarrier":
        carrier = MemoryCarrier(self)
        self.carriers.append(carrier)
        return carrier


class MemoryCarrier:
    """One client. ``loses``: how many of the next messages are lost."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.changes: Hook[CarrierChange] = Hook()
        self.is_connected = True
        self.loses = 0
        self._broker = broker
        self._loop = asyncio.get_running_loop()
        self._subscriptions: list[tuple[str, Callable[[Delivery], None]]] = []
        self._unsent: deque[Delivery] = deque()
        self._unsent_bytes = 0
        self._is_held = self._was_full = self._is_sending = False

    @property
    def is_full(self) -> bool:
        return self._unsent_bytes >= FULL_BYTES

    def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        if self.is_connected:
            self._unsent.append(Delivery(subject, reply, data))
            self._unsent_bytes += len(data)
            self._was_full = self._was_full or self.is_full
            self._broker.most_waiting_bytes = max(self._broker.most_waiting_bytes, self._unsent_bytes)
            self._send_soon()

    def subscribe(self, subject: str, heard: Callable[[Delivery], None]) -> Callable[[], None]:
        subscription = (subject, heard)
        self._subscriptions.append(subscription)
        return lambda: self._subscriptions.remove(subscription)

    # What a test does to it.

    def hold(self) -> None:
        """From now on, what is published waits."""
        self._is_held = True

    def release(self) -> None:
        self._is_held = False
        self._send_soon()

    def cut(self) -> None:
        """The connection breaks, with all that is unsent."""
        self._unsent.clear()
        self._unsent_bytes = 0
        self.is_connected = False
        self.changes.publish(CarrierChange.LOST)

    def heal(self) -> None:
        self.is_connected = True
        self.changes.publish(CarrierChange.BACK)

    # Inside.

    def _send_soon(self) -> None:
        """One message in each turn of the loop, as a socket would take some of them."""
        if self._unsent and not self._is_held and not self._is_sending:
            self._is_sending = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_sending = False
        if not self._unsent or self._is_held:
            return
        message = self._unsent.popleft()
        self._unsent_bytes -= len(message.data)
        self._send_soon()
        if self.loses and message.data:
            self.loses -= 1
        else:
            self._route(message)
        if self._was_full and not self.is_full:
            self._was_full = False
            self.changes.publish(CarrierChange.WRITABLE)

    def _route(self, message: Delivery) -> None:
        self._broker.carried_bytes += len(message.data)
        heard = [each for carrier in self._broker.carriers for each in carrier.hearers(message.subject)]
        for hear in heard:
            hear(message)
        if not heard and message.reply:
            for hear in self.hearers(message.reply):
                hear(Delivery(message.reply, is_nobody=True))

    def hearers(self, subject: str) -> list[Callable[[Delivery], None]]:
        """What is to be called for a message under the subject."""
        any_last = subject.rpartition(".")[0] + ".*"
        return [heard for given, heard in self._subscriptions if self.is_connected and given in (subject, any_last)]
