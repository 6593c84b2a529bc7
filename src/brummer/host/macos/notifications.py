"""notify(3) as descriptors on the event loop."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol

_READ_BYTES: Final = 4096
"""A notification has four bytes; several mean no more than one of them."""


class Notifier(Protocol):
    """`brummer.host.macos.library.Library`."""

    def register_notification(self, name: bytes) -> tuple[int, int] | None: ...
    def cancel_notification(self, token: int) -> None: ...


def watch_notifications(
    loop: asyncio.AbstractEventLoop, names: Sequence[bytes], on_posted: Callable[[], None], notifier: Notifier
) -> Callable[[], None]:
    """Call ``on_posted()`` after each of these; returns a stop function. Names that the system refuses are left out."""
    registered = [found for name in names if (found := notifier.register_notification(name))]

    def on_readable(descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, _READ_BYTES)
        on_posted()

    for descriptor, _ in registered:
        os.set_blocking(descriptor, False)
        loop.add_reader(descriptor, on_readable, descriptor)

    def stop() -> None:
        for descriptor, token in registered:
            loop.remove_reader(descriptor)
            notifier.cancel_notification(token)

    return stop
