"""A descriptor of the kernel's that is read on the loop, and given up once it can't be read."""

import asyncio
from collections.abc import Callable


def read_when_ready(
    loop: asyncio.AbstractEventLoop, descriptor: int, read: Callable[[], None], on_failed: Callable[[OSError], None]
) -> None:
    """Call ``read`` whenever there is something; raises OSError where the loop can't watch the descriptor.

    When ``read`` raises OSError the loop stops watching and ``on_failed`` is called: what stays readable and can't be
    read would take a whole processor.
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
