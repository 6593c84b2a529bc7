"""Waiting for something to be true of what others do."""

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 8.0
"""Everything that is waited for takes milliseconds, on a machine that is busy a second."""


class Signal:
    """Fires whenever something may have come true."""

    def __init__(self) -> None:
        self._fired = asyncio.Event()

    def fire(self) -> None:
        self._fired.set()

    async def until(self, is_true: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Whether it came true in time."""
        try:
            async with asyncio.timeout(patience_s):
                while not is_true():
                    self._fired.clear()
                    await self._fired.wait()
        except TimeoutError:
            return False
        return True
