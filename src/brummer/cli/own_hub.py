"""A hub that a command runs for a moment, without a transport."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from brummer.host import loop
from brummer.hub.service import Hub, running_hub
from brummer.peers.instances import Concerns


def with_hub(use: Callable[[Hub], Awaitable[int]], concerns: Concerns = lambda _: True) -> int:
    """Run a command that uses a hub; returns the exit status. ``concerns`` filters which instances get a link."""
    place = Path.cwd()

    async def main() -> int:
        async with running_hub(os.environ, place, concerns=concerns) as hub:
            return await use(hub)

    return loop.run(main())
