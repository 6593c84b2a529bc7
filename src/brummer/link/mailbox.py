"""The one mailbox of a link's task: what has happened outside of it, in order."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from brummer.link.peer import Peer
from brummer.link.state import Event


@dataclass(frozen=True, slots=True)
class Message:
    """``event`` has happened. ``target``: the peer of a new record."""

    event: Event
    reason: str
    target: Peer | None = None


class Mailbox:
    """A message wakes the task. So does `wake`, without a message: something may have changed, and the task looks."""

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._woken = asyncio.Event()
        self.wake = self._woken.set

    def __bool__(self) -> bool:
        return bool(self._messages)

    def post(self, event: Event, reason: str, target: Peer | None = None) -> None:
        self._messages.append(Message(event, reason, target))
        self.wake()

    def take(self) -> Message:
        """The oldest message."""
        return self._messages.popleft()

    def acknowledge(self) -> None:
        """What woke the task until now is done."""
        self._woken.clear()

    async def wait(self, timeout_s: float = math.inf) -> bool:
        """Wait to be woken; False if the time was over first."""
        try:
            async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True
