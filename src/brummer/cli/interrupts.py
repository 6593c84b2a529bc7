"""Runs work until Ctrl-C or SIGTERM."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


async def until_interrupted(work: Coroutine[Any, Any, None]) -> bool:
    """Run it until it ends, or SIGINT or SIGTERM cancels it; whether a signal did. Raises what the work raises."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
    if not task.cancelled():
        task.result()
    return task.cancelled()
