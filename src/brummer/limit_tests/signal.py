"""Waits until a condition that others bring about is true."""

import asyncio
from collections.abc import Callable
from typing import Final

PATIENCE_S: Final = 8.0
"""Each awaited condition comes true within milliseconds, on a busy machine within a second."""


class Signal:
    """Fires whenever an awaited condition may have come true."""

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
