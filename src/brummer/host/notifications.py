"""macOS' notify(3) as a descriptor on the loop. Untested on hardware."""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable, Sequence

from brummer.host.libc import function

_READ_BYTES = 4096
"""A notification is four bytes; whatever has piled up means no more than one of them."""


def watch_notifications(
    loop: asyncio.AbstractEventLoop, names: Sequence[bytes], on_posted: Callable[[], None]
) -> Callable[[], None]:
    """Call back whenever one of these is posted; returns what ends that. Names that the system refuses are left out."""
    tokens: list[tuple[int, int]] = []

    def on_readable(descriptor: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(descriptor, _READ_BYTES)
        on_posted()

    for name in names:
        descriptor, token = ctypes.c_int(-1), ctypes.c_int()
        register = function("notify_register_file_descriptor")
        if register(name, ctypes.byref(descriptor), 0, ctypes.byref(token)) == 0:
            os.set_blocking(descriptor.value, False)
            loop.add_reader(descriptor.value, on_readable, descriptor.value)
            tokens.append((descriptor.value, token.value))

    def close() -> None:
        for descriptor, token in tokens:
            loop.remove_reader(descriptor)
            function("notify_cancel")(token)  # which closes the descriptor

    return close
