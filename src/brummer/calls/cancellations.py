"""Cancels the work of a call that nothing waits for any more, in the run of the instance that it was sent to."""

import asyncio
import contextlib
import logging
from typing import Final

from brummer.core.errors import BrummerError, TransportError
from brummer.core.lost_calls import LOST_CALL_GRACE_S
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import LinkState
from brummer.pool.connections import borrowed

_log = logging.getLogger(__name__)

AT_ONCE: Final = 2
"""A round trip each; the connections that the hub may open for itself serve all links."""


class Cancellations:
    """Of one link; each is a small task of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._running: dict[asyncio.Task[None], None] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await self.settled()

    async def settled(self) -> None:
        """Return when none is under way."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def send(self, call: Call) -> None:
        """Without effect for a call that was never sent."""
        if call.sent_to is not None:
            task = asyncio.get_running_loop().create_task(self._send(call), name=f"cancel {call.key}")
            self._running[task] = None
            task.add_done_callback(self._running.pop)

    async def _send(self, call: Call) -> None:
        """Now, or as soon as the link is ready again; the run that the call was sent to must still be there then."""
        link = self._link
        with contextlib.suppress(TimeoutError, BrummerError):
            async with asyncio.timeout(LOST_CALL_GRACE_S):
                if link.state is not LinkState.READY:
                    await _ready(link, call)
                while call.sent_to == link.target.generation:
                    try:
                        async with self._turns, borrowed(link.connections) as connection:
                            await link.target.cancel(connection, call)
                    except TransportError as error:
                        link.distrust(error)
                        await _ready(link, call)
                    else:
                        return
        _log.info("could not cancel call %s in %s", call.key, link.target.instance_id)


class _Ready:
    """A `brummer.link.parking.Parked`."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_ready(self) -> None:
        if not self.reached.done():
            self.reached.set_result(None)

    def on_hopeless(self, error: BrummerError) -> None:
        if not self.reached.done():
            self.reached.set_exception(error)


async def _ready(link: Link, call: Call) -> None:
    """Wait for the link to become ready. Raises `BrummerError` if it can't reach that run any more."""
    waiter = _Ready(call)
    link.parking.add(waiter)
    try:
        await waiter.reached
    finally:
        link.parking.remove(waiter)
