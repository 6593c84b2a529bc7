"""Reads a descriptor of the kernel on the loop, and stops once it can't be read."""

import asyncio
from collections.abc import Callable


def read_when_ready(
    loop: asyncio.AbstractEventLoop, descriptor: int, read: Callable[[], None], on_failed: Callable[[OSError], None]
) -> None:
    """Call ``read`` whenever the descriptor is readable. Raises OSError if the loop can't watch the descriptor.

    When ``read`` raises OSError, the loop stops watching and ``on_failed`` is called: a descriptor that stays readable
    but can't be read would take a whole processor.
    """

    def on_readable() -> None:
        try:
            read()
        except BlockingIOError:
            pass
        except OSError as error:
            loop.remove_reader(descriptor)
            on_failed(error)

    loop.add_reader(descriptor, on_readable)
