"""When is a server ready: a local URL it printed answers, or one of its processes listens on a TCP port.

Nothing polls busily. A look is taken after output (at once for a new URL, else at most four times a second)
and at a few moments after the start; after the last of them only a new URL is a reason to look again.
"""

import asyncio
from collections.abc import Callable, Collection

from brummer.host.ports import listening_ports, port_answers
from brummer.host.process_groups import members

LOOK_AT_S = (0.05, 0.15, 0.3, 0.6, 1, 2, 4, 8, 15, 30, 60, 120)
"""After the start. A dev server listens within a second, behind a large build within two minutes."""
PAUSE_S = 0.25


class Readiness:
    """Watches one process group until it is ready. ``printed_ports()`` gives the ports of the local URLs so
    far.
    """

    def __init__(self, group: int, printed_ports: Callable[[], Collection[int]]) -> None:
        self._group = group
        self._printed_ports = printed_ports
        self._output = asyncio.Event()
        self._new_url = asyncio.Event()

    def printed(self, *, new_url: bool) -> None:
        """There was output."""
        self._output.set()
        if new_url:
            self._new_url.set()

    async def wait(self) -> set[int]:
        """Returns when ready, with the ports on which the group itself listens (Linux; may be empty). Else
        never.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        for moment in LOOK_AT_S:
            while (rest := began + moment - loop.time()) > 0:
                await self._reason_to_look(rest)
                if (ports := await self._look()) is not None:
                    return ports
        while True:
            await self._new_url.wait()
            self._new_url.clear()
            if (ports := await self._look()) is not None:
                return ports

    async def _reason_to_look(self, at_the_latest_s: float) -> None:
        """Output is followed by a pause, in which only a new URL is more urgent."""
        try:
            async with asyncio.timeout(at_the_latest_s):
                await self._output.wait()
                async with asyncio.timeout(PAUSE_S):
                    await self._new_url.wait()
        except TimeoutError:
            pass
        self._output.clear()
        self._new_url.clear()

    async def _look(self) -> set[int] | None:
        ports = await asyncio.to_thread(_ports_of_group, self._group)
        if ports:
            return ports
        for port in self._printed_ports():
            if await port_answers(port):
                return ports
        return None


def _ports_of_group(group: int) -> set[int]:
    return listening_ports(members(group))
