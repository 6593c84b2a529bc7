"""Having the work of a call stopped that nobody wants any more, in the run of the instance that it was sent to."""

import asyncio
import contextlib
import logging

from brummer.core.errors import BrummerError, TransportError
from brummer.core.lost_calls import GRACE_S
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.link.state import State

_log = logging.getLogger(__name__)


class Cancellations:
    """Of one link; each is a small task of its own."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._running: dict[asyncio.Task[None], None] = {}

    async def close(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def send(self, call: Call) -> None:
        """Nothing need be stopped of a call that was never sent."""
        if call.sent_to is not None:
            task = asyncio.get_running_loop().create_task(self._send(call), name=f"cancel {call.key}")
            self._running[task] = None
            task.add_done_callback(self._running.pop)

    async def _send(self, call: Call) -> None:
        """Now, or as soon as the link is ready again; the run that the call was sent to must still be there then."""
        link = self._link
        with contextlib.suppress(TimeoutError, BrummerError):
            async with asyncio.timeout(GRACE_S):
                if link.state is not State.READY:
                    await link.parking.wait(call, GRACE_S)
                while call.sent_to == link.target.generation:
                    try:
                        await self._try(call)
                    except TransportError as error:
                        link.distrust(error)
                        await link.parking.wait(call, GRACE_S)
                    else:
                        return
        _log.info("could not cancel call %s in %s", call.key, link.target.instance_id)

    async def _try(self, call: Call) -> None:
        """On a connection of its own pool: a cancellation must never queue behind the calls it is about."""
        pool = self._link.connections.cancellations
        connection = await pool.acquire()
        try:
            await self._link.target.cancel(connection, call)
        finally:
            pool.release(connection)
