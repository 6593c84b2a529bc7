"""Threads that are there before they are needed: when a script has started all the processes that the user, or the
container, may have, no thread can be started any more, and just then scripts have to be stopped.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from brummer.core.errors import BrummerError

WORKERS: Final = 8
"""What blocks does so for milliseconds, or for the two seconds in which a process dies."""
START_S: Final = 1.0


T = TypeVar("T")


class NoThread(BrummerError):
    """The system starts no further thread: the limit on processes of the user, or of the container, is reached."""

    code = "no_thread"
    transient = True


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """As `asyncio.to_thread`. Raises `NoThread` if no thread is idle and none can be started."""
    call = partial(contextvars.copy_context().run, work, *arguments)
    try:
        running = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError as error:
        raise NoThread("no further thread can be started here; end other processes, or try again") from error
    return await running


async def in_thread_if_possible(work: Callable[..., T], *arguments: object) -> T:
    """As `in_thread`, but on the loop if there is no thread. For necessary work that usually takes milliseconds."""
    try:
        return await in_thread(work, *arguments)
    except NoThread:
        return work(*arguments)


async def start_all_threads() -> bool:
    """All that `asyncio.to_thread` will use on the running loop: some milliseconds. False when not all could be
    started; then it uses those that could.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(WORKERS, thread_name_prefix="worker"))
    together = threading.Barrier(WORKERS)  # no thread is idle, and can take a second of these, before all are there
    starts = [asyncio.to_thread(together.wait, START_S) for _ in range(WORKERS)]
    ends = await asyncio.gather(*starts, return_exceptions=True)
    return not any(isinstance(end, Exception) for end in ends)
